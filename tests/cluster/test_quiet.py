"""What Ray says of itself stays off the terminal; what a job says does not."""

import logging
import sys

import pytest

from raycolor.cluster.quiet import without_ray_output


def test_what_ray_says_of_its_processes_is_not_printed(capsys, caplog):
    """A raylet's last words vanish, end of line included; other lines stay; a lost node is one warning."""
    with caplog.at_level(logging.WARNING), without_ray_output():
        print("before")
        print("\x1b[33m(raylet)\x1b[0m Raylet is terminated.\n    - objects spillable: 18\n")
        print("(raylet) The node with node id: c18c has been marked dead because")
        print("after")
    assert capsys.readouterr().out == "before\nafter\n"
    assert [record.getMessage() for record in caplog.records] == ["Ray lost a node: other nodes do its work again"]


def test_the_streams_come_back(capsys):
    """After the body both streams are those from before, also when it raised."""
    before = sys.stdout, sys.stderr
    with pytest.raises(ValueError, match="mine"), without_ray_output():
        raise ValueError("mine")
    assert (sys.stdout, sys.stderr) == before
    print("(raylet) is nobody here")
    assert capsys.readouterr().out == "(raylet) is nobody here\n"
