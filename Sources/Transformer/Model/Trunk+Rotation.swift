extension Trunk {
  /// Whether sequences that may grow to `length` tokens are rotated as long ones: LongRoPE (arXiv 2402.13753)
  /// has factors for sequences within the length that the model was first trained with, and others for
  /// longer ones. A sequence is one or the other from its beginning.
  package func isLong(_ length: Int) -> Bool {
    longRotaryFactors != nil && length > originalContextLength
  }

  /// The angle by which pair `pair` of a head turns from one position to the next in layers that use
  /// rotary `index`.
  package func rotationFrequency(_ pair: Int, rotary index: Int = 0, isLong: Bool) -> Double {
    let frequency = configuration.rotaries[index].frequency(pair)
    let factors = (isLong ? longRotaryFactors : shortRotaryFactors) ?? rotaryFactors
    guard index == 0, let factors else { return frequency }
    return frequency / Double(factors[pair])
  }
}
