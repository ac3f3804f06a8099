"""Models of noise that cannot take back what they have read: one with a sliding window, one with a recurrent state."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, TOKENS, BLOCKS = 64, 320, 4


def sliding(path: Path, window: int = 64) -> Path:
    """Gemma 3's architecture: of four blocks all but the last look back no farther than so many tokens."""
    writer = _begun(path, "gemma3")
    writer.add_sliding_window(window)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_key_length(WIDTH // 4)
    writer.add_value_length(WIDTH // 4)
    writer.add_feed_forward_length(WIDTH)
    noise = np.random.default_rng(3)
    for block in range(BLOCKS):
        for name, rows in (("attn_q", WIDTH), ("attn_k", WIDTH // 2), ("attn_v", WIDTH // 2), ("attn_output", WIDTH)):
            _matrix(writer, noise, f"blk.{block}.{name}", rows, WIDTH)
        for name in ("ffn_gate", "ffn_up", "ffn_down"):
            _matrix(writer, noise, f"blk.{block}.{name}", WIDTH, WIDTH)
        for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            writer.add_tensor(f"blk.{block}.{name}.weight", np.ones(WIDTH, np.float32))
        for name in ("attn_q_norm", "attn_k_norm"):
            writer.add_tensor(f"blk.{block}.{name}.weight", np.ones(WIDTH // 4, np.float32))
    return _ended(writer, noise, path)


def recurrent(path: Path) -> Path:
    """Mamba's architecture: whatever it has read is one state."""
    inner, state, rank, kernel = 2 * WIDTH, 8, 4, 4
    writer = _begun(path, "mamba")
    writer.add_head_count(0)
    writer.add_feed_forward_length(0)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    noise = np.random.default_rng(4)
    for block in range(BLOCKS):
        _matrix(writer, noise, f"blk.{block}.ssm_in", 2 * inner, WIDTH)
        _matrix(writer, noise, f"blk.{block}.ssm_conv1d", inner, kernel)
        _matrix(writer, noise, f"blk.{block}.ssm_x", rank + 2 * state, inner)
        _matrix(writer, noise, f"blk.{block}.ssm_dt", inner, rank)
        _matrix(writer, noise, f"blk.{block}.ssm_out", WIDTH, inner)
        writer.add_tensor(f"blk.{block}.ssm_conv1d.bias", np.zeros(inner, np.float32))
        writer.add_tensor(f"blk.{block}.ssm_dt.bias", np.zeros(inner, np.float32))
        writer.add_tensor(f"blk.{block}.ssm_a", -np.tile(np.arange(1, state + 1, dtype=np.float32), (inner, 1)))
        writer.add_tensor(f"blk.{block}.ssm_d", np.ones(inner, np.float32))
        writer.add_tensor(f"blk.{block}.attn_norm.weight", np.ones(WIDTH, np.float32))
    return _ended(writer, noise, path)


def _begun(path: Path, architecture: str) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(1024)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_layer_norm_rms_eps(1e-5)
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    texts += [f"unused {number}" for number in range(TOKENS - len(texts))]
    kinds += [gguf.TokenType.UNUSED] * (TOKENS - len(kinds))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(texts)
    writer.add_token_scores([-float(number) for number in range(TOKENS)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    return writer


def _ended(writer: gguf.GGUFWriter, noise: np.random.Generator, path: Path) -> Path:
    _matrix(writer, noise, "token_embd", TOKENS, WIDTH)
    _matrix(writer, noise, "output", TOKENS, WIDTH)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _matrix(writer: gguf.GGUFWriter, noise: np.random.Generator, name: str, rows: int, columns: int) -> None:
    writer.add_tensor(f"{name}.weight", noise.normal(0, 1 / np.sqrt(columns), (rows, columns)).astype(np.float32))
