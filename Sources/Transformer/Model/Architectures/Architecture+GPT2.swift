extension Architecture {
  /// GPT-2 and DistilGPT-2.
  static let gpt2 = Architecture(
    name: "gpt2", normalization: .layer, rotation: .none, hasPositionEmbedding: true,
    isGated: false, activation: .geluTanh)
}
