"""The driver contract: the one module of the gateway that a driver imports.

A driver is a frozen dataclass whose fields are its options (validated by the gateway before `__post_init__`,
which may raise ValueError with a sentence for the technician; begun with `option: `, it points at that
option's line). It is pure: bytes, registers, advertisements, documents or samples and a monotonic time in,
outcomes out. It opens nothing, waits for nothing and knows no clock. State (tracks, counters, replay windows)
lives in the object that `decoder()` returns, one per opened device.

A field's metadata may hold `doc` (what the option means), `option` (its name where the field cannot bear it),
`path` (a prefix behind which a path stands that is relative to the configuration), and `secret` (True: the
configuration names a file or a credential, and the driver gets what it holds; the field is a `str` with default ""
and `repr=False`).

Kinds:

* `StreamDriver`: a device on a serial line that talks, or answers one request of `request()`.
* `AskDriver`: a device on a serial line or a TCP socket that is asked, in a conversation.
* `PollDriver`: a Modbus device; the driver names the register blocks and decodes the answers.
* `AdvertDriver`: a Bluetooth LE device that advertises its values.
* `MessageDriver`: a device of the local network that says its values in documents.
* `AudioDriver`: a microphone.
"""

from __future__ import annotations

from edgegw.driver.about import Driver, Notice, Outcome, spelt
from edgegw.driver.advert import Advert, AdvertDecoder, AdvertDriver, KeyedAdvertDecoder
from edgegw.driver.amounts import METRES, SECONDS, amount
from edgegw.driver.ask import AskDecoder, AskDriver, Request
from edgegw.driver.audio import AudioDecoder, AudioDriver
from edgegw.driver.message import (
    Login,
    Message,
    MessageDecoder,
    MessageDriver,
    Pull,
    Push,
    Source,
    Subscription,
)
from edgegw.driver.numeric import numbers
from edgegw.driver.poll import Answer, Block, Discovery, PollDecoder, PollDriver, Setting, Write
from edgegw.driver.serial import SerialLine, StreamDecoder, StreamDriver, ToldDecoder
from edgegw.framing import EitherOf, FixedLength, FrameError, Framing, LengthPrefixed, Lines
from edgegw.reading import QUANTITIES, Quality, Quantity, Reading

__all__ = [
    "METRES",
    "QUANTITIES",
    "SECONDS",
    "Advert",
    "AdvertDecoder",
    "AdvertDriver",
    "Answer",
    "AskDecoder",
    "AskDriver",
    "AudioDecoder",
    "AudioDriver",
    "Block",
    "Discovery",
    "Driver",
    "EitherOf",
    "FixedLength",
    "FrameError",
    "Framing",
    "KeyedAdvertDecoder",
    "LengthPrefixed",
    "Lines",
    "Login",
    "Message",
    "MessageDecoder",
    "MessageDriver",
    "Notice",
    "Outcome",
    "PollDecoder",
    "PollDriver",
    "Pull",
    "Push",
    "Quality",
    "Quantity",
    "Reading",
    "Request",
    "SerialLine",
    "Setting",
    "Source",
    "StreamDecoder",
    "StreamDriver",
    "Subscription",
    "ToldDecoder",
    "Write",
    "amount",
    "numbers",
    "spelt",
]
