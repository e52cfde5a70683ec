"""Messages of the library in the words of the shell."""

import pytest

from isplit_tf.cli.main import _options
from isplit_tf.cli.wording import in_shell_words

# The message of the library, the command, and what its user reads.
SAID = [
    ("There is no accuracy: give accuracy=predict_accuracy(model, data).", "propose", "give --accuracy FILE."),
    ("keep_best=True takes the best epoch by validation_data. Received: none.", "train",
     "--keep-best takes the best epoch by --validation-data. Received: none."),
    ("No cut is within min_accuracy=0.9 and max_head_share=0.1.", "propose",
     "No cut is within --min-accuracy 0.9 and --max-head-share 0.1."),
    ("compression: expected a number between 0 and 1. Received: 2.0", "split", "--compression: expected a number"),
    ("Possible: max_head_share=0.5, or rank='cheapest'", "propose", "--max-head-share 0.5, or --rank cheapest"),
    ("'x' exists. Give overwrite=True to replace the bundle, or another", "export", "Give --overwrite to replace"),
    ("local_fallback=True puts it there. Possible too: local_fallback=False.", "export",
     "--local-fallback puts it there. Possible too: no --local-fallback."),
    ("precision='int8' needs representative_data of at least 16 images", "export",
     "--precision int8 needs --representative-data of at least 16 images"),
    ("Give images: split(..., fit_data=images), split.fit_bottleneck(images), isplit_tf.train, or on the command line "
     "isplit split --fit-data.", "evaluate", "Give images: isplit split --fit-data."),
    ("keras.saving.register_keras_serializable(), or give custom_objects={'A': A}; on the command line "
     "--custom-objects MODULE.py", "cuts", "or give --custom-objects MODULE.py"),
    ("one of find_cuts(model, max_tensors=2).", "split", "one of isplit cuts --max-tensors 2."),
    ("Export with version=3 and publish that.", "publish", "Export with --model-version 3 and publish that."),
    ("what they are (from_logits=True, --from-logits), and", "importance", "what they are (--from-logits), and"),
    ("Give original_output=NAME or original_output=INDEX.", "export",
     "Give --original-output NAME or --original-output INDEX."),
    ("'a.npz' cannot be read: [Errno 20] Not a directory: 'a.npz'", "propose", "cannot be read: Not a directory"),
    ("{{function_node __wrapped__DecodeImage}} Input is empty. [Op:DecodeImage] name: ", "predict", "Input is empty."),
    ("'c.json' is damaged: KeyError('cut')", "split", "'c.json' is damaged: 'cut' is missing"),
    ("'c.json' is damaged: TypeError(\"it's no list\")", "split", "'c.json' is damaged: it's no list"),
    ("latent_bits=4 gives each as many bits, and coding='entropy' as", "split",
     "--latent-bits 4 gives each as many bits, and --coding entropy as"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "command", "expected"), SAID)
def test_arguments_become_options(message, command, expected):
    """Names with their values, names alone, and what other programs put around their texts."""
    assert expected in in_shell_words(message, _options(command))


@pytest.mark.parametrize(
    "text",
    [
        "There is no file 'fit_data=1.npz'.",
        "'/home/me/validation_data/x.npz' is not there",
        "cut model/max_images_1 is not there",
        "Save it by model.save('classifier.keras').",
        "wrote /tmp/keep_best.json",
        "Model 'm' has 2 outputs. Choose one with output=NAME or output=INDEX.",
    ],
)
def test_what_is_no_argument_stays(text):
    """Paths and names that look like arguments are not touched."""
    for command in ("importance", "train", "propose"):
        assert in_shell_words(text, _options(command)) == text
