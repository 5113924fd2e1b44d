import pytest

from gateways.dicom.redaction import redact


@pytest.mark.parametrize(
    ("text", "identifiers", "dates", "clean"),
    [
        ("HEAD ROUTINE", ["DOE^JOHN"], [], "HEAD ROUTINE"),
        ("Head Doe, John 5mm", ["DOE^JOHN"], [], "Head [removed], [removed] 5mm"),
        ("HEAD_DOE_5mm", ["DOE^JOHN"], [], "HEAD_[removed]_5mm"),
        ("DOESKIN", ["DOE^JOHN"], [], "DOESKIN"),
        ("CT PID-4711", ["PID-4711"], [], "CT [removed]"),
        ("CT 4711", ["PID-4711"], [], "CT [removed]"),
        ("brain 김민수님", ["KIM^MINSU=金^民秀=김^민수", "김민수"], [], "brain [removed]님"),
        ("born 1970-01-02 or 02.01.1970 or 19700102", [], ["19700102"], "born [removed] or [removed] or [removed]"),
        ("PID7305518842 brain", ["7305518842"], [], "PID[removed] brain"),
        ("7305518842A", ["PID-7305518842"], [], "[removed]A"),
        ("acc 99417706", ["ACC99417706"], [], "acc [removed]"),
        ("no 12345", ["00012345"], [], "no [removed]"),
        ("lot 4711X", ["4711"], [], "lot 4711X"),
        ("brain KIMMINSU2", ["KIM^MINSU"], [], "brain [removed]2"),
        ("brain xMinsu2", ["KIM^MINSU"], [], "brain x[removed]2"),
        ("brain MINSUHOKIM", ["KIM^MINSU^HO"], [], "brain [removed]"),
        ("kim7305518842", ["KIM^MINSU", "7305518842"], [], "[removed][removed]"),
        ("KIMONO DOSE", ["KIM^DO"], [], "KIMONO DOSE"),
        ("MOVER 1", ["MOVE^R"], [], "[removed] 1"),
        ("5.0 mm 120 kV", ["A^B"], ["19700102"], "5.0 mm 120 kV"),
        ("a.b (c)", [".^*", "("], [], "a.b (c)"),
    ],
)
def test_the_patient_leaves_the_text_and_nothing_else_does(text, identifiers, dates, clean):
    assert redact(text, identifiers, dates) == clean
