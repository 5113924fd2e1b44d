"""Mail, over the hospital's own server: RFC 5321 with STARTTLS (RFC 3207)."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Final

import aiosmtplib

from gateways.alerts.channel import Message, Shut, plain
from gateways.alerts.far_side import distrust, run, trusting
from gateways.alerts.settings import SmtpSettings
from schemas.failures import Refused, Unavailable
from schemas.identity import derived_id

_ENHANCED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_LONGEST_ANSWER: Final = 200
_GOODBYE_S: Final = 1.0
_PICTURE: Final = "key-image"


class Smtp:
    """A mail address. Delivered means that the server answered 250 after DATA: it has taken the mail on."""

    kind = "smtp"

    def __init__(self, settings: SmtpSettings, to: str, timeout_s: float) -> None:
        self._settings = settings
        self._to = to
        self._timeout_s = timeout_s

    def send(self, message: Message) -> str:
        """See :class:`gateways.alerts.channel.Channel`."""
        mail = compose(message, self._settings.sender, self._to)

        async def deliver(server: aiosmtplib.SMTP) -> str:
            _, answer = await server.send_message(mail)
            return f"250 {' '.join(answer.split())}"[:_LONGEST_ANSWER]

        return run(_with_server(self._settings, self._timeout_s, deliver))

    def reach(self) -> bool:
        """See :class:`gateways.alerts.channel.Channel`."""
        reach(self._settings, self._timeout_s)
        return True


def reach(settings: SmtpSettings, timeout_s: float) -> None:
    """Greet the server as for a mail, and leave. Raises :class:`Unavailable`."""

    async def greet(server: aiosmtplib.SMTP) -> str:
        return str((await server.noop()).code)

    run(_with_server(settings, timeout_s, greet))


def compose(message: Message, sender: str, to: str) -> EmailMessage:
    """The mail. The same message gives the same mail, to the last byte."""
    domain = sender.rpartition("@")[2]
    thread = f"<{message.thread}@{domain}>"
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = to
    mail["Subject"] = message.title
    mail["Date"] = format_datetime(message.at)
    mail["Message-ID"] = f"<{derived_id('mail', message.key)}@{domain}>"
    # Nobody ever sent what this answers: mail programs gather its answers in one thread all the same.
    mail["In-Reply-To"] = thread
    mail["References"] = thread
    mail["Auto-Submitted"] = "auto-generated"
    if message.alert_id is not None:
        mail["X-Sinsok-Alert"] = str(message.alert_id)
    picture = message.picture() if message.picture else None
    mail.set_content(plain(message))
    mail.add_alternative(_html(message, shown=picture is not None), subtype="html")
    mail.set_boundary(derived_id("boundary", message.key).hex)
    if picture is not None:
        html = mail.get_payload(1)
        assert isinstance(html, EmailMessage)
        html.add_related(picture, "image", "png", cid=f"<{_PICTURE}>", disposition="inline", filename="key-image.png")
        html.set_boundary(derived_id("related", message.key).hex)
    return mail


def _html(message: Message, *, shown: bool) -> str:
    picture = f'<p><img src="cid:{_PICTURE}" alt="" style="max-width:100%"></p>\n' if shown else ""
    lines = (
        f'<p><a href="{escape(line.url)}">{escape(line.text)}</a></p>' if line.url else f"<p>{escape(line.text)}</p>"
        for line in message.lines
    )
    said = "\n".join(lines)
    return f'<!DOCTYPE html>\n<html lang="{message.language}"><body>\n{said}\n{picture}</body></html>\n'


async def _with_server(
    settings: SmtpSettings, timeout_s: float, work: Callable[[aiosmtplib.SMTP], Awaitable[str]]
) -> str:
    server = aiosmtplib.SMTP(
        hostname=settings.host,
        port=settings.port,
        local_hostname=socket.gethostname(),  # the library would ask the network for a longer one
        timeout=timeout_s,
        start_tls=False,
        tls_context=trusting(settings.ca),
    )
    try:
        async with asyncio.timeout(timeout_s):
            await _connect(server, settings)
            said = await work(server)
        # Whatever becomes of the goodbye: the mail is taken on.
        with suppress(aiosmtplib.SMTPException, OSError):
            await server.execute_command(b"QUIT", timeout=_GOODBYE_S)
    except (aiosmtplib.SMTPException, OSError) as error:
        raise _failure(error, timeout_s) from None
    else:
        return said
    finally:
        # TLS would wait for the far side's own goodbye, for longer than this event loop lives.
        if isinstance(server.transport, asyncio.WriteTransport):
            server.transport.abort()
        server.close()
        await asyncio.sleep(0)


async def _connect(server: aiosmtplib.SMTP, settings: SmtpSettings) -> None:
    await server.connect()
    await server.ehlo()
    offered = server.supports_extension("starttls")
    if settings.starttls == "required" or (offered and settings.starttls == "if-offered"):
        await server.starttls()
    if settings.username is not None and settings.password is not None:
        await server.login(settings.username, settings.password.get_secret_value())


def _failure(error: Exception, timeout_s: float) -> Refused | Unavailable:
    """What is wrong with the mail is refused; what is wrong with the server, its TLS or our password may pass."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        error = error.recipients[0]
    if why := distrust(error):
        return Unavailable(f"no session: {why}")
    match error:
        case TimeoutError():
            return Unavailable(f"no answer within {timeout_s:g} s")
        case aiosmtplib.SMTPAuthenticationError(code=535):
            return Shut("no session: 535, the password is not taken")
        case aiosmtplib.SMTPConnectError() | aiosmtplib.SMTPHeloError() | aiosmtplib.SMTPAuthenticationError():
            code = f"{error.code} " if isinstance(error, aiosmtplib.SMTPResponseException) else ""
            return Unavailable(f"no session: {code}{type(error).__name__}")
        case aiosmtplib.SMTPResponseException():
            # What the server says beyond its codes may repeat the address.
            enhanced = _ENHANCED.match(error.message)
            status = f"{error.code} {enhanced[0]}" if enhanced else str(error.code)
            return Refused(status) if error.code >= 500 else Unavailable(status)
        case aiosmtplib.SMTPException() if type(error) is aiosmtplib.SMTPException:
            return Unavailable(error.message)  # the library's own words: no STARTTLS, no way to log in
        case _:
            return Unavailable(f"no session: {type(error).__name__}")
