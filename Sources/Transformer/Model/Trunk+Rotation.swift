import Glibc

extension Trunk {
  /// The angle by which pair `pair` of a head turns from one position to the next: base^(-pair / pairs),
  /// divided by what the file's rope scaling says.
  package func rotationFrequency(_ pair: Int) -> Double {
    let exponent = -Double(pair) / Double(configuration.rotaryPairs)
    let factor = rotaryFactors.map { Double($0[pair]) } ?? 1
    return pow(configuration.rotaryBase, exponent) / (configuration.rotaryScale * factor)
  }
}
