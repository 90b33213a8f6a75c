//! Lines of text.

use serde_json::json;

use super::*;

#[test]
fn every_line_is_a_row() {
    let folder = Folder::new("lines-source");
    let text = b"a\tb\r\n\n\"c\xC3\xA9\"\n\xFF\nlast";
    let read = all_sizes(&folder, text, &json!({ "format": "lines" }), 10);
    assert_eq!(
        read.rows,
        [r#"1:1 {"line":"a\tb"}"#, r#"2:2 {"line":""}"#, r#"3:3 {"line":"\"cé\""}"#, r#"5:5 {"line":"last"}"#]
    );
    assert_eq!(read.rejects, ["4:4 invalid_utf8 column `line`: `\u{fffd}` is not UTF-8"]);
    let spec =
        json!({ "format": "lines", "null": "-", "columns": [{ "name": "n", "type": "int8", "nullable": true }] });
    let read = all_sizes(&folder, b"1\n-\nx\n12345678901\n", &spec, 10);
    assert_eq!(read.rows, [r#"1:1 {"n":1}"#, r#"2:2 {"n":null}"#]);
    assert_eq!(
        read.rejects,
        ["3:3 bad_number column `n`: `x` is not a valid int8", "4:4 too_long the record is longer than 10 bytes"]
    );
}
