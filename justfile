# The daily commands, each as CONTRIBUTING.md has it. `just` lists them.

# Lists the commands
default:
    @just --list

# Does it compile?
check:
    cargo check --locked

# Unit tests of one module: `just unit transforms::dedup`
unit path:
    cargo test --lib {{ path }}

# Integration tests of one file, or one by its name: `just suite invalid::`
suite name:
    cargo test --test suite -- {{ name }}

# The same with a service: `just suite-with postgres postgres::`
suite-with service name:
    scripts/with-services {{ service }} -- cargo test --test suite -- {{ name }}

# Every test, with every service
test:
    scripts/with-services cargo test --locked

# Formats
fmt:
    cargo fmt

# Lints
lint:
    cargo clippy --all-targets --locked -- -D warnings

# All checks, as CI runs them
ci:
    bash .ci/run

# Kills jobs and lets calls fail
torture kills="200":
    RUNNER_KILLS={{ kills }} scripts/torture

# Writes schemas and expected texts anew; read the difference before you keep it
expected:
    UPDATE_EXPECTED=1 cargo test --test suite -- published_schemas the_plan_of_a_job invalid::

# Licences, banned crates and sources
licences:
    scripts/licences

# Measures a whole job: `just bench memc`
bench job:
    scripts/bench {{ job }}

# The program as it is shipped
release:
    cargo build --release --locked
