import Tensor

/// What a tensor does in a model, as far as it decides how many bits its numbers get.
enum TensorRole {
  case embedding
  case output
  /// Values of attention; also where they share a matrix with queries and keys.
  case attentionValue
  case attentionKey
  case attentionOutput
  case feedForwardDown
  /// Any other matrix that may be quantised.
  case matrix
  /// Stays as it is: too small to be worth it, or too sensitive.
  case kept

  /// The role of a tensor by its name and its extents.
  init(_ tensor: GGUFTensor) {
    let name = tensor.name
    // Vectors, also those that are written with further extents of 1.
    guard tensor.shape.dropFirst().contains(where: { $0 > 1 }), name.hasSuffix("weight") else {
      self = .kept
      return
    }
    if name == "output.weight" {
      self = .output
    } else if name == "token_embd.weight" || name == "per_layer_token_embd.weight" {
      self = .embedding
    } else if Self.keptParts.contains(where: { name.has(part: $0) }) {
      self = .kept
    } else if let found = Self.parts.first(where: { name.has(part: $0.part) }) {
      self = found.role
    } else {
      self = .matrix
    }
  }

  /// Parts of names, the first that fits counts.
  private static let parts: [(part: String, role: TensorRole)] = [
    ("attn_qkv.weight", .attentionValue), ("attn_kv_b.weight", .attentionValue),
    ("attn_v.weight", .attentionValue), ("attn_k.weight", .attentionKey),
    ("attn_output.weight", .attentionOutput), ("ffn_down", .feedForwardDown),
  ]

  /// Parts of the names of tensors that stay as they are: norms, routers, positions, token types, factors of
  /// rotation, and small matrices of recurrent and other layers; those that llama.cpp leaves alone.
  private static let keptParts = [
    "_norm.weight", "ffn_gate_inp", "ffn_gate_tid2eid", "position_embd", "token_types",
    "rope_freqs", "rope_factors",
    "altup", "laurel", "per_layer_model_proj", "ssm_conv1d", "shortconv.conv", "indexer.k_proj",
    "indexer.q_proj",
    "time_mix_first", "time_mix_w0", "time_mix_w1", "time_mix_w2", "time_mix_v0", "time_mix_v1",
    "time_mix_v2",
    "time_mix_a0", "time_mix_a1", "time_mix_a2", "time_mix_g1", "time_mix_g2", "time_mix_decay_w1",
    "time_mix_decay_w2", "time_mix_lerp_fused", "attn_rel_b",
  ]
}
