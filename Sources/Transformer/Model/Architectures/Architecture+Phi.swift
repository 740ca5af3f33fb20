extension Architecture {
  /// Phi-3, 3.5 and Phi-4-mini.
  static let phi3 = Architecture(name: "phi3", rotation: .halves)
}
