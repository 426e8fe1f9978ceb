# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fine-tuning in 4 bits of a tiny random model, as users do it with real ones. Nothing is downloaded."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
import tempfile
import time
from importlib import metadata, util
from typing import Any

from ._verify_measure_gpu import telling_line

STEPS = 20
LAYERS = 2
# Each layer of this model: four of attention, three of the perceptron.
LINEARS = LAYERS * 7

_RANK = 16
_TEXTS = 64
_BATCH = 8
_SPECIAL = ("<pad>", "<s>", "</s>")


def train(learning_rate: float, steps: int) -> dict[str, Any]:
    """The loss of each step, and how many layers have weights in 4 bits."""
    torch = importlib.import_module("torch")
    began = time.monotonic()
    torch.manual_seed(7)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = _save_model(folder)
        model = _load_in_4_bits(torch, folder)
        counted = sum(type(module).__name__ == "Linear4bit" for module in model.modules())
        trainer = _trainer(model, tokenizer, folder, learning_rate, steps)
        trainer.train()
        losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return {
        "device": str(model.device),
        "layers_in_4_bits": counted,
        "losses": [loss if math.isfinite(loss) else None for loss in losses],
        "seconds": round(time.monotonic() - began, 1),
    }


def _save_model(folder: str) -> Any:
    transformers = importlib.import_module("transformers")
    tokenizer = _tokenizer(transformers)
    tokenizer.save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.05,  # the usual 0.02 leaves so small a model with little that an adapter can steer
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return tokenizer


def _tokenizer(transformers: Any) -> Any:
    """One token for each byte."""
    tokenizers = importlib.import_module("tokenizers")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*_SPECIAL, *alphabet])}
    bytewise = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    bytewise.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = tokenizers.decoders.ByteLevel()
    pad, begin, end = _SPECIAL
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytewise, pad_token=pad, bos_token=begin, eos_token=end, model_max_length=512
    )


def _load_in_4_bits(torch: Any, folder: str) -> Any:
    transformers = importlib.import_module("transformers")
    on_gpu = torch.cuda.is_available()
    number = torch.bfloat16 if on_gpu else torch.float32
    quantized = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=number,
    )
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=quantized, dtype=number, device_map={"": 0 if on_gpu else "cpu"}
    )


def _trainer(model: Any, tokenizer: Any, folder: str, learning_rate: float, steps: int) -> Any:
    datasets, peft, trl = (importlib.import_module(name) for name in ("datasets", "peft", "trl"))
    texts = [f"The rig number {number} has {number % 7} cards and {number % 5} fans." for number in range(_TEXTS)]
    on_gpu = model.device.type == "cuda"
    return trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(
            output_dir=f"{folder}/out",
            max_steps=steps,
            learning_rate=learning_rate,
            per_device_train_batch_size=_BATCH,
            logging_steps=1,
            logging_nan_inf_filter=False,  # else what is not a number would be replaced by the average
            lr_scheduler_type="constant",
            save_strategy="no",
            report_to="none",
            bf16=on_gpu,
            use_cpu=not on_gpu,
            disable_tqdm=True,
            dataloader_num_workers=0,
            seed=7,
        ),
        train_dataset=datasets.Dataset.from_dict({"text": texts}),
        processing_class=tokenizer,
        peft_config=peft.LoraConfig(
            r=_RANK, lora_alpha=2 * _RANK, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )


def try_unsloth() -> dict[str, Any]:
    """In a process of its own, because it changes transformers and trl while it is imported."""
    if util.find_spec("unsloth") is None:
        return {"version": None}
    ended = subprocess.run(
        [sys.executable, "-c", "import unsloth"], check=False, capture_output=True, text=True, errors="replace"
    )
    found: dict[str, Any] = {"version": metadata.version("unsloth")}
    if ended.returncode:
        found["error"] = telling_line(ended.stderr) or f"it ended with status {ended.returncode}"
    return found
