"""Detoxify as a stage of moderation: the published toxicity models, on torch or as ONNX, never the network.

In the order data flows: `published` knows the five models by name, `files` reads what an operator has pinned,
`torch_form` and `onnx_form` make a `Model` of it, `reading` turns texts into tokens and tokens into scores,
`batches` decides what is read together, `stage` does it on a thread of its own under a deadline. `export`
writes the ONNX form and says how far it agrees. torch, transformers and detoxify are imported in this folder
alone, and only when a model is loaded or exported.
"""

from moderation.toxicity.files import BadDetoxify, Form, Wanted
from moderation.toxicity.published import PUBLISHED
from moderation.toxicity.reading import STAGE, Model
from moderation.toxicity.stage import Toxicity

__all__ = ["PUBLISHED", "STAGE", "BadDetoxify", "Form", "Model", "Toxicity", "Wanted", "load"]


def load(wanted: Wanted) -> Model:
    """Read and check the model that an operator asked for; `BadDetoxify` names the setting at fault."""
    if wanted.form is Form.TORCH:
        from moderation.toxicity.torch_form import load_checkpoint

        return load_checkpoint(wanted)
    from moderation.toxicity.onnx_form import load_export

    return load_export(wanted)
