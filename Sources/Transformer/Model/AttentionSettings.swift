import GGUF
import Tensor

/// The constants of a model's attention beside its sizes.
package struct AttentionSettings: Sendable {
  /// Multiplies scores.
  package let scale: Float
  /// Bounds scores to cap · tanh(score / cap); 0: no bound.
  let cap: Float
  /// Queries, keys and values are kept within ± this; 0: no bound.
  let clamp: Float
  /// Tokens, its own among them, that a token attends to in a sliding layer; nil where it is all of them.
  let windows: [Int?]  // [layers]

  /// Whether layer `index` attends to a window only.
  func slides(_ index: Int) -> Bool { windows[index] != nil }

  /// Whether nothing but the scale by the width of a head is in it.
  package func isPlain(headSize: Int) -> Bool {
    scale == 1 / Float(headSize).squareRoot() && cap == 0 && clamp == 0
      && windows.allSatisfy { $0 == nil }
  }

  /// Reads `<architecture>.attention.*` of `file`.
  ///
  /// Throws `.corruptFile` for an impossible value; the message names file, key, value and bound.
  init(
    _ architecture: Architecture, layerCount: Int, headSize: Int, evenHeadSize: Int, file: GGUFFile
  ) throws(IVGError) {
    let name = architecture.name
    let width = architecture.evenScaleLayerCount == layerCount ? evenHeadSize : headSize
    scale =
      try file.metadata.float("\(name).attention.scale", in: 1e-6...1e6).map { Float($0) }
      ?? 1 / Float(width).squareRoot()
    cap = Float(
      try file.metadata.float("\(name).attn_logit_softcapping", in: 0...1e6)
        ?? architecture.attentionCap)
    clamp = Float(try file.metadata.float("\(name).attention.clamp_kqv", in: 0...1e6) ?? 0)
    let window =
      try file.metadata.int("\(name).attention.sliding_window", in: 0...(1 << 27))
      ?? architecture.slidingWindow
    let slides = try Self.slidingLayers(architecture, layerCount, file)
    windows = slides.map { $0 && window > 0 ? window : nil }
  }

  /// Which layers slide if there is a window at all: by a pattern, as an array or the period of full
  /// layers.
  private static func slidingLayers(
    _ architecture: Architecture, _ layerCount: Int, _ file: GGUFFile
  ) throws(IVGError) -> [Bool] {
    let key = "\(architecture.name).attention.sliding_window_pattern"
    if case .array(let array) = file.metadata[key] {
      let flags = (0..<min(array.count, layerCount + 1)).compactMap { array.bool(at: $0) }
      guard flags.count == layerCount else {
        throw IVGError(
          .corruptFile,
          "\(file.path): \(key) has \(flags.count) truth values; the model has \(layerCount) layers"
        )
      }
      return flags
    }
    let period = try file.metadata.int(key, in: 0...1024) ?? architecture.slidingPattern
    return (0..<layerCount).map { period == 0 || ($0 + 1) % period != 0 }
  }
}
