"""What C++ code prints stays off the screen."""

import logging
import os
import subprocess
import sys

from isplit_tf.display.quiet import quiet, without_tracing_advice


def test_collects_what_is_written_to_the_descriptors(capfd):
    """Bytes written below Python's own streams are collected, and nothing of them is shown."""
    with quiet() as printed:
        os.write(1, b"one ")
        os.write(2, b"two")
    os.write(1, b"after")
    assert printed.text == "one two"
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("after", "")


def test_restores_the_descriptors_after_an_error(capfd):
    """An exception inside leaves the screen as it was, and the text at hand."""
    try:
        with quiet() as printed:
            os.write(2, b"why")
            raise KeyError("inside")
    except KeyError:
        os.write(2, b"seen")
    assert printed.text == "why"
    assert capfd.readouterr().err == "seen"


def test_python_streams_still_reach_the_terminal():
    """A progress bar on `sys.stderr` is seen while C++ output on the same descriptor is not."""
    script = (
        "import os, sys\n"
        "from isplit_tf.display.quiet import quiet\n"
        "with quiet():\n"
        "    os.write(2, b'hidden')\n"
        "    print('shown', file=sys.stderr)\n"
        "print('end', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "shown\nend\n"


def test_log_handlers_made_inside_go_on_to_work():
    """A handler keeps the `sys.stderr` of its birth, as those of a library do that is imported inside."""
    script = (
        "import logging, sys\n"
        "from isplit_tf.display.quiet import quiet\n"
        "with quiet():\n"
        "    logging.getLogger().addHandler(logging.StreamHandler())\n"
        "    logging.warning('inside')\n"
        "logging.warning('after')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "inside\nafter\n"


def test_works_where_the_streams_are_closed():
    """A daemon that has closed its descriptors can export too."""
    script = (
        "import os, sys\n"
        "from isplit_tf.display.quiet import quiet\n"
        "os.close(1); os.close(2)\n"
        "with quiet() as printed:\n"
        "    pass\n"
        "os._exit(0)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


def test_advice_against_retracing_is_kept_back(caplog):
    """Several models, each traced once, are no reason for advice; other warnings of TensorFlow come through."""
    logger = logging.getLogger("tensorflow")
    caplog.set_level(logging.WARNING, logger="tensorflow")
    with without_tracing_advice():
        logger.warning("5 out of the last 5 calls to <function> triggered tf.function retracing.")
        logger.warning("something else")
    logger.warning("6 out of the last 6 calls to <function> triggered tf.function retracing.")
    assert [record.getMessage()[:11] for record in caplog.records] == ["something e", "6 out of th"]
