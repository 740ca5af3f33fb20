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
  package let activation: Architecture.Activation
  package let attention: AttentionSettings
  /// How heads are rotated: in all layers, or in those that do not slide and in those that do.
  package let rotaries: [Rotary]  // [1 or 2]
  /// Experts of a feed-forward layer, and those that a row passes; 0: it is one for all rows.
  package let expertCount: Int
  let usedExpertCount: Int
  /// Bounds logits to cap · tanh(logit / cap); 0: no bound.
  package let outputCap: Float
  /// Whether every tensor of the file is F32: then keys and values are kept so too.
  package let isSinglePrecision: Bool

  /// Pairs of elements of a head that rotate.
  package var rotaryPairs: Int { rotaries[0].pairs }
  /// Which of `rotaries` layer `index` uses.
  func rotary(ofLayer index: Int) -> Int {
    rotaries.count == 2 && attention.slides(index) ? 1 : 0
  }

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
      throw IVGError(
        .unsupported, "\(file.path): heads of \(headSize) elements; only even sizes are known")
    }
    epsilon = try Self.epsilon(of: architecture, file: file)
    activation = try Self.activation(of: architecture, file: file)
    attention = try AttentionSettings(
      architecture, layerCount: layerCount, headSize: headSize,
      evenHeadSize: max(hiddenSize / headCount, 1),
      file: file)
    rotaries = try Rotary.all(architecture, headSize: headSize, file: file)
    isSinglePrecision = file.tensors.allSatisfy { $0.type == .f32 }
    (expertCount, usedExpertCount) = try Self.experts(name, file)
    outputCap = Float(
      try file.metadata.float("\(name).final_logit_softcapping", in: 0...1e6)
        ?? architecture.outputCap)
  }

  private static func experts(_ name: String, _ file: GGUFFile) throws(IVGError)
    -> (count: Int, used: Int)
  {
    guard let count = try file.metadata.int("\(name).expert_count", in: 0...1024), count > 0 else {
      return (0, 0)
    }
    return (
      count, try file.metadata.requiredInt("\(name).expert_used_count", in: 1...min(count, 32))
    )
  }

  private static func activation(of architecture: Architecture, file: GGUFFile) throws(IVGError)
    -> Architecture.Activation
  {
    let key = "\(architecture.name).hidden_activation"
    guard let name = try file.metadata.string(key) else { return architecture.activation }
    if let found = Architecture.Activation(rawValue: name) { return found }
    let known = Architecture.Activation.allCases.map(\.rawValue).joined(separator: ", ")
    throw IVGError(.unsupported, "\(file.path): \(key) is \(quoted(name)); known: \(known)")
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
}
