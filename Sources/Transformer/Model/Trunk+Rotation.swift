extension Trunk {
  /// The angle by which pair `pair` of a head turns from one position to the next in layers that use
  /// rotary `index`, in sequences of up to `contextLength` tokens: LongRoPE (arXiv 2402.13753) has factors
  /// for sequences within the length that the model was first trained with, and others for longer ones.
  package func rotationFrequency(_ pair: Int, rotary index: Int = 0, contextLength: Int) -> Double {
    let frequency = configuration.rotaries[index].frequency(pair)
    guard index == 0, let factors = rotaryFactors(contextLength) else { return frequency }
    return frequency / Double(factors[pair])
  }

  private func rotaryFactors(_ contextLength: Int) -> UnsafePointer<Float>? {
    guard let longRotaryFactors, let shortRotaryFactors else { return rotaryFactors }
    return contextLength > originalContextLength ? longRotaryFactors : shortRotaryFactors
  }
}
