extension Architecture {
  static let olmo = Architecture(
    name: "olmo", normalization: .layer, hasNormWeights: false, rotation: .interleaved)

  static let olmo2 = Architecture(
    name: "olmo2", normalizesInput: false, normalizesOutput: true, headNormalization: .together,
    rotation: .halves)
}
