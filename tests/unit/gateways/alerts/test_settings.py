"""What a configuration may say, and that what is wrong with it is named."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gateways.alerts.settings import ChannelSettings, HttpChannel, NotifierSettings, Recipient, SmtpSettings

CHANNEL: TypeAdapter[Any] = TypeAdapter(ChannelSettings)
SMS = {"kind": "http", "url": "https://sms.test/send", "body": '{"message": "{text}"}'}


def test_a_recipient_with_every_kind_of_channel() -> None:
    recipient = Recipient.model_validate(
        {
            "channels": [
                {"kind": "webhook", "url": "https://hooks.test/T/B/X", "style": "slack"},
                {"kind": "webhook", "url": "https://pager.test", "secret": "a secret of 16 or more"},
                SMS,
                {"kind": "smtp", "to": "night@hospital.test"},
            ]
        }
    )
    assert [channel.kind for channel in recipient.channels] == ["webhook", "webhook", "http", "smtp"]
    assert "hooks.test" not in repr(recipient)
    assert "a secret" not in repr(recipient)


@pytest.mark.parametrize("field", ["url", "body"])
def test_an_unknown_placeholder_is_refused_with_its_field_and_the_allowed_ones(field: str) -> None:
    text = {"url": "https://sms.test/{patient_name}", "body": '{"to": "{patient_name}"}'}[field]
    with pytest.raises(ValidationError) as raised:
        CHANNEL.validate_python(SMS | {field: text})
    (fault,) = raised.value.errors()
    assert fault["loc"] == ("http", field)
    assert fault["msg"] == (
        "Value error, there is no placeholder {patient_name}: use {text}, {title}, {link}, {priority}, {site},"
        " {recipient}, {alert_id}, {key}"
    )


def test_an_unknown_placeholder_in_the_link() -> None:
    with pytest.raises(ValidationError, match=r"there is no placeholder \{study_uid\}: use \{alert_id\}"):
        NotifierSettings(link="https://console.test/{study_uid}")


def test_a_link_that_is_the_same_for_every_alert_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"\{alert_id\} has to stand in it"):
        NotifierSettings(link="https://console.test/")


def test_braces_that_are_no_placeholder_stay() -> None:
    assert HttpChannel.model_validate(SMS | {"body": '{"a": {"b": "{text}"}, "c": {}}'}).body.endswith("{}}")


@pytest.mark.parametrize("body", ['{"message": {text}}', '{"a": 1{text}}', '{"a": "{text}"{title}}'])
def test_a_body_that_will_be_no_json_is_refused(body: str) -> None:
    with pytest.raises(ValidationError, match=r"put \{text\} into quotes"):
        CHANNEL.validate_python(SMS | {"body": body})
    plain = SMS | {"body": "{text}", "headers": {"content-type": "text/plain"}}
    assert CHANNEL.validate_python(plain).content_type == "text/plain"


def test_a_message_that_would_always_be_empty_is_refused() -> None:
    with pytest.raises(ValidationError, match="the message would be empty"):
        CHANNEL.validate_python(SMS | {"body": ""})
    assert CHANNEL.validate_python(SMS | {"body": "", "url": "https://sms.test/?text={title}"})
    assert CHANNEL.validate_python(SMS | {"body": '{"message": "look at the console"}'})


@pytest.mark.parametrize("value", ["a\nb", "a\tb", "a\x7f", " a", "a ", "값"])
def test_a_header_that_cannot_be_sent_is_refused_without_saying_it(value: str) -> None:
    with pytest.raises(ValidationError, match="the value of X-Token is to be of printable ASCII") as raised:
        CHANNEL.validate_python(SMS | {"headers": {"X-Token": f"{value}"}})
    assert all(isinstance(fault["input"], dict) for fault in raised.value.errors())
    assert CHANNEL.validate_python(SMS | {"headers": {"X-Token": "Bearer a b", "X-Empty": ""}})


def test_what_is_expected_of_an_answer_is_a_regular_expression() -> None:
    with pytest.raises(ValidationError, match="valid regular expression"):
        CHANNEL.validate_python(SMS | {"expect": "("})
    assert CHANNEL.validate_python(SMS | {"expect": '"code": ?0'}).expect.search('{"code": 0}')


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "pigeon"},
        {"kind": "smtp", "to": "nobody"},
        {"kind": "smtp", "to": "a@b.test, c@d.test"},
        {"kind": "webhook", "url": "https://hooks.test"},
        {"kind": "webhook", "url": "https://hooks.test", "secret": "short"},
        {"kind": "webhook", "url": "ftp://hooks.test", "style": "slack"},
        SMS | {"headers": {"Bad Name": "x"}},
        SMS | {"colour": "red"},
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CHANNEL.validate_python(wrong)


def test_a_password_goes_over_tls_only() -> None:
    with pytest.raises(ValidationError, match="a password is sent only where it is"):
        SmtpSettings.model_validate({"username": "u", "password": "p", "starttls": "if-offered"})
    with pytest.raises(ValidationError, match="belong together"):
        SmtpSettings(username="u")
    assert SmtpSettings.model_validate({"username": "u", "password": "p"}).starttls == "required"
