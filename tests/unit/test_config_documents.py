"""The configuration of devices with documents, and of the endpoint that they post to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgegw.config import Address, ConfigError, load

if TYPE_CHECKING:
    from pathlib import Path

    from edgegw.config import Config

GATEWAY = '[gateway]\nid = "box-1"\n'
NODE = '[sensor.air-1]\ndriver = "json_http"\nmap = "airgradient"\n'


def loaded(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "edgegw.toml"
    file.write_text(GATEWAY + text)
    return load(file, {})


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, text)
    return "\n".join(map(str, error.value.mistakes))


def notes(tmp_path: Path, text: str) -> str:
    return "\n".join(str(note) for note in loaded(tmp_path, text).notes)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("192.168.4.1:8080", Address("192.168.4.1", 8080)),
        ("[fd00::1]:80", Address("fd00::1", 80)),
        ("[fe80::1%eth0]:80", Address("fe80::1%eth0", 80)),
        ("", None),
    ],
)
def test_the_endpoint_listens_on_a_named_address_or_not_at_all(
    tmp_path: Path, listen: str, address: Address | None
) -> None:
    assert loaded(tmp_path, f'[endpoint]\nlisten = "{listen}"\n').endpoint.listen == address
    assert loaded(tmp_path, "").endpoint.listen is None


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("0.0.0.0:8080", "every network of this machine"),
        ("[::]:8080", "every network of this machine"),
        ("gateway.lan:8080", "a name could come to mean another"),
        ("192.168.4.1", "port that is not a number"),
        ("192.168.4.1:0", "port that is not a number"),
        ("8080", "port that is not a number"),
        (":8080", "is not HOST:PORT"),
    ],
)
def test_an_address_that_says_too_little_or_too_much_is_a_mistake(
    tmp_path: Path, listen: str, words: str
) -> None:
    assert words in refused(tmp_path, f'[endpoint]\nlisten = "{listen}"\n')


def test_every_network_can_be_meant_deliberately(tmp_path: Path) -> None:
    text = '[endpoint]\nlisten = "0.0.0.0:8080"\nany_address = true\n'
    assert loaded(tmp_path, text).endpoint.listen == Address("0.0.0.0", 8080)


def test_an_address_of_the_internet_is_noted(tmp_path: Path) -> None:
    assert "reachable from the internet" in notes(tmp_path, '[endpoint]\nlisten = "9.9.9.9:8080"\n')


def test_a_device_that_posts_where_nothing_listens_is_noted(tmp_path: Path) -> None:
    assert "nothing listens" in notes(tmp_path, NODE)
    assert "nothing listens" not in notes(tmp_path, NODE + '[endpoint]\nlisten = "10.0.0.1:8080"\n')


def test_a_plain_connection_is_noted_and_never_leaves_private_networks(tmp_path: Path) -> None:
    assert "sensor.air-1.url: is not encrypted" in notes(tmp_path, NODE + 'url = "http://10.0.0.7/"\n')
    assert "is not encrypted" in notes(tmp_path, NODE + 'url = "http://node.lan/"\n')
    assert "only https:// with ca" in refused(tmp_path, NODE + 'url = "http://9.9.9.9/"\n')
    encrypted = NODE + 'url = "https://9.9.9.9/"\nca = "file:/ca.crt"\n'
    assert "encrypted" not in notes(tmp_path, encrypted)
    broker = '[sensor.b-1]\ndriver = "json_mqtt"\nmap = "xovis"\ntopic = "a"\nserver = "mqtt://9.9.9.9"\n'
    assert "only mqtts:// with ca" in refused(tmp_path, broker)


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ('map = "airgradeint"\n', "air-1.map"),
        ('url = "ftp://x"\n', "air-1.url"),
        ('password = "hunter2"\n', "air-1.password"),
        ('host = "10.0.0.7"\n', "air-1.host"),
    ],
)
def test_a_mistake_is_said_at_its_line_and_shows_no_secret(tmp_path: Path, more: str, where: str) -> None:
    node = NODE if not more.startswith("map") else NODE.replace('map = "airgradient"\n', "")
    said = refused(tmp_path, node + more)
    assert where in said
    assert "hunter2" not in said
