import GGUF
import Tensor

/// The sizes and constants of one model, read from a file's metadata and checked against bounds.
package struct ModelConfiguration: Sendable {
  package let architecture: Architecture
  package let layerCount: Int
  package let hiddenSize: Int
  package let feedForwardSize: Int
  package let headCount: Int
  package let keyValueHeadCount: Int
  package let headSize: Int
  package let contextLength: Int
  package let epsilon: Float
  /// Pairs of elements of a head that rotate.
  package let rotaryPairs: Int
  package let rotaryBase: Double
  /// Positions are divided by this before rotating (linear rope scaling).
  package let rotaryScale: Double

  /// Query heads that share one key/value head.
  package var headGroup: Int { headCount / keyValueHeadCount }
  /// Width of all query heads together.
  package var querySize: Int { headCount * headSize }
  /// Width of all key (or value) heads together.
  package var keyValueSize: Int { keyValueHeadCount * headSize }

  /// Reads `<architecture>.*` of `file`.
  ///
  /// Throws `.corruptFile` for a missing or impossible value, `.unsupported` for an unknown
  /// architecture or rope scaling; the message names file, key, value and bound.
  init(file: GGUFFile) throws(IVGError) {
    let metadata = file.metadata
    guard let name = try metadata.string("general.architecture") else {
      throw IVGError(.corruptFile, "\(file.path): general.architecture is missing")
    }
    architecture = try Architecture.named(name, file: file.path)
    let dimension = 1...(1 << 20)
    layerCount = try metadata.requiredInt("\(name).block_count", in: 1...1024)
    hiddenSize = try metadata.requiredInt("\(name).embedding_length", in: dimension)
    feedForwardSize = try metadata.requiredInt("\(name).feed_forward_length", in: dimension)
    headCount = try metadata.requiredInt("\(name).attention.head_count", in: 1...4096)
    keyValueHeadCount =
      try metadata.int("\(name).attention.head_count_kv", in: 1...4096) ?? headCount
    contextLength = try metadata.requiredInt("\(name).context_length", in: 1...(1 << 27))
    guard headCount % keyValueHeadCount == 0 else {
      throw IVGError(
        .corruptFile,
        "\(file.path): \(name).attention.head_count is \(headCount), not a multiple of "
          + "\(name).attention.head_count_kv, which is \(keyValueHeadCount)")
    }
    if let size = try metadata.int("\(name).attention.key_length", in: 2...512) {
      headSize = size
    } else {
      guard hiddenSize % headCount == 0, (2...512).contains(hiddenSize / headCount) else {
        throw IVGError(
          .corruptFile,
          "\(file.path): \(name).embedding_length is \(hiddenSize), which \(headCount) heads do not "
            + "divide into heads of 2...512")
      }
      headSize = hiddenSize / headCount
    }
    if let size = try metadata.int("\(name).attention.value_length", in: 2...512),
      size != headSize
    {
      throw IVGError(
        .unsupported,
        "\(file.path): \(name).attention.value_length is \(size), key_length is \(headSize); only "
          + "equal lengths are known")
    }
    guard headSize % 2 == 0 else {
      throw IVGError(.corruptFile, "\(file.path): heads of \(headSize) elements cannot be rotated")
    }
    epsilon = try Self.epsilon(of: architecture, file: file)
    let rotated = try metadata.int("\(name).rope.dimension_count", in: 2...headSize) ?? headSize
    rotaryPairs = architecture.rotation == .none ? 0 : rotated / 2
    rotaryBase = try metadata.float("\(name).rope.freq_base") ?? 10_000
    guard rotaryBase > 0 else {
      throw IVGError(
        .corruptFile, "\(file.path): \(name).rope.freq_base is \(rotaryBase), must be above 0")
    }
    rotaryScale = try Self.rotaryScale(of: architecture, file: file)
  }

  private static func epsilon(of architecture: Architecture, file: GGUFFile) throws(IVGError)
    -> Float
  {
    let key =
      architecture.normalization == .layer
      ? "\(architecture.name).attention.layer_norm_epsilon"
      : "\(architecture.name).attention.layer_norm_rms_epsilon"
    let value = try file.metadata.float(key) ?? 1e-5
    guard value >= 0, value <= 1 else {
      throw IVGError(.corruptFile, "\(file.path): \(key) is \(value), must be within 0...1")
    }
    return Float(value)
  }

  private static func rotaryScale(of architecture: Architecture, file: GGUFFile) throws(IVGError)
    -> Double
  {
    let name = architecture.name
    let kind = try file.metadata.string("\(name).rope.scaling.type") ?? "none"
    switch kind {
    case "none": return 1
    case "linear":
      let factor = try file.metadata.float("\(name).rope.scaling.factor") ?? 1
      guard factor >= 1 else {
        throw IVGError(
          .corruptFile, "\(file.path): \(name).rope.scaling.factor is \(factor), must be at least 1"
        )
      }
      return factor
    default:
      throw IVGError(
        .unsupported,
        "\(file.path): \(name).rope.scaling.type is '\(kind)'; known: none, linear")
    }
  }
}
