extension Architecture {
  /// Qwen 2 and 2.5.
  static let qwen2 = Architecture(name: "qwen2", rotation: .halves, projectionBias: true)

  static let qwen3 = Architecture(name: "qwen3", headNormalization: .each, rotation: .halves)
}
