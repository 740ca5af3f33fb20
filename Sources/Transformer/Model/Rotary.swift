import GGUF
import Glibc
import Tensor

/// How heads are rotated: pair p of a head turns by `position · frequency(p)`, and by `magnitude` it grows.
package struct Rotary: Sendable {
  /// How positions beyond those that a model was first trained with are brought in.
  enum Scaling: Sendable {
    case none
    /// Positions are divided by a factor.
    case linear(Double)
    /// YaRN (arXiv 2309.00071): as `linear`, but pairs that turn often within `original` positions stay
    /// as they are, and those between the two are mixed: those that turn `fast` times to `slow` times.
    case yarn(factor: Double, original: Double, fast: Double, slow: Double)
  }

  let pairs: Int
  let base: Double
  let scaling: Scaling
  /// Multiplies what is rotated.
  package let magnitude: Double

  /// The angle by which pair `pair` turns from one position to the next.
  func frequency(_ pair: Int) -> Double {
    let plain = pow(base, -Double(pair) / Double(pairs))
    switch scaling {
    case .none: return plain
    case .linear(let factor): return plain / factor
    case .yarn(let factor, let original, let fast, let slow):
      /// The pair that turns `turns` times within the original positions.
      func place(_ turns: Double) -> Double {
        Double(pairs) * log(original / (turns * 2 * .pi)) / log(base)
      }
      let low = max(place(fast).rounded(.down), 0)
      let high = min(place(slow).rounded(.up), Double(2 * pairs - 1))
      let share = min(max((Double(pair) - low) / max(high - low, 0.001), 0), 1)
      return plain * (1 - share) + plain / factor * share
    }
  }
}

extension Rotary {
  /// Reads `<architecture>.rope.*` of `file`: one for all layers, or a second for those that slide.
  ///
  /// Throws `.corruptFile` for an impossible value, `.unsupported` for an unknown scaling.
  static func all(_ architecture: Architecture, headSize: Int, file: GGUFFile) throws(IVGError)
    -> [Rotary]
  {
    guard architecture.rotation != .none else {
      return [Rotary(pairs: 0, base: 1, scaling: .none, magnitude: 1)]
    }
    let prefix = "\(architecture.name).rope"
    let rotated = try file.metadata.int("\(prefix).dimension_count", in: 2...headSize) ?? headSize
    guard rotated % 2 == 0 else {
      throw IVGError(
        .corruptFile, "\(file.path): \(prefix).dimension_count is \(rotated), must be even")
    }
    let (scaling, magnitude) = try Self.scaling(prefix, file)
    let main = Rotary(
      pairs: rotated / 2, base: try base("\(prefix).freq_base", file) ?? 10_000, scaling: scaling,
      magnitude: magnitude)
    guard
      let sliding = try base("\(prefix).freq_base_swa", file) ?? architecture.slidingRotaryBase
    else { return [main] }
    return [main, Rotary(pairs: rotated / 2, base: sliding, scaling: .none, magnitude: 1)]
  }

  private static func base(_ key: String, _ file: GGUFFile) throws(IVGError) -> Double? {
    guard let base = try file.metadata.float(key) else { return nil }
    guard base > 1 else {
      throw IVGError(.corruptFile, "\(file.path): \(key) is \(base), must be above 1")
    }
    return base
  }

  private static func scaling(_ prefix: String, _ file: GGUFFile) throws(IVGError)
    -> (Scaling, magnitude: Double)
  {
    func number(_ name: String, _ range: ClosedRange<Double>) throws(IVGError) -> Double? {
      try file.metadata.float("\(prefix).scaling.\(name)", in: range)
    }
    let magnitude = try number("attn_factor", 1e-3...1e3) ?? 1
    let kind = try file.metadata.string("\(prefix).scaling.type") ?? "none"
    switch kind {
    case "none", "longrope": return (.none, magnitude)
    case "linear": return (.linear(try number("factor", 1...1e6) ?? 1), 1)
    case "yarn":
      let factor = try number("factor", 1...1e6) ?? 1
      let key = "\(prefix).scaling.original_context_length"
      let original = try file.metadata.requiredInt(key, in: 1...(1 << 27))
      let scaling = Scaling.yarn(
        factor: factor, original: Double(original),
        fast: try number("yarn_beta_fast", 1e-3...1e6) ?? 32,
        slow: try number("yarn_beta_slow", 1e-3...1e6) ?? 1)
      return (scaling, magnitude * (1 + 0.1 * log(factor)))
    default:
      throw IVGError(
        .unsupported,
        "\(file.path): \(prefix).scaling.type is '\(kind)'; known: none, linear, yarn, longrope")
    }
  }
}
