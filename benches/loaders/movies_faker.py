"""Movies of jobs/movies.toml as a Python script with Faker makes them: movies_faker.py ROWS PATH"""

import json
import random
import sys

from faker import Faker


def main():
    rows, path = int(sys.argv[1]), sys.argv[2]
    fake = Faker()
    names = lambda count: [fake.name() for _ in range(count)]
    with open(path, "w") as out:
        for _ in range(rows):
            movie = {
                "titleId": fake.uuid4(),
                "ordering": random.randint(0, 9999),
                "title": fake.catch_phrase(),
                "region": fake.locale(),
                "language": fake.language_name(),
                "types": names(5),
                "attributes": names(5),
                "isOriginalTitle": random.random() < 0.5,
                "titleType": fake.domain_name(),
                "primaryTitle": fake.catch_phrase(),
                "originalTitle": f"{fake.company()}:{fake.catch_phrase()}",
                "isAdult": random.random() < 0.5,
                "startYear": fake.date(),
                "endYear": fake.year(),
                "runtimeMinutes": random.randint(0, 9999),
                "genres": [fake.country() for _ in range(5)],
                "tconst": fake.hex_color(),
                "directors": names(2),
                "writers": names(40),
                "actors": names(120),
            }
            out.write(json.dumps(movie) + "\n")


main()
