extension Architecture {
  static let gemma = Architecture(
    name: "gemma", rotation: .halves, scalesEmbedding: true, activation: .geluTanh)

  /// Gemma 2; of its models, that of 27B scales attention otherwise.
  static let gemma2 = Architecture(
    name: "gemma2", normalizesOutput: true, rotation: .halves, scalesEmbedding: true,
    activation: .geluTanh, slidingWindow: 4096, slidingPattern: 2, attentionCap: 50, outputCap: 30,
    evenScaleLayerCount: 46)

  /// Gemma 3, its text models; as above.
  static let gemma3 = Architecture(
    name: "gemma3", normalizesOutput: true, headNormalization: .each, rotation: .halves,
    scalesEmbedding: true, activation: .geluTanh, slidingPattern: 6, slidingRotaryBase: 10_000,
    evenScaleLayerCount: 62)
}
