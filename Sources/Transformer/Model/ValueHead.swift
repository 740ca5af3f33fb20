import GGUF
import Tensor

/// A trained prefix scorer: a head on a trunk's final hidden state h (after the last norm), with an
/// adapter of its own if the file carries one. Immutable.
///
/// A vocabulary head values every next token in one pass, Q_t[v] = V(x, y_≤t ⊕ v); a scalar head
/// values the text so far, V(x, y_≤t) = w·h_t + b. (IVG §4.1; algorithms: "Values".)
package final class ValueHead: @unchecked Sendable {
  package enum Kind: String, Sendable { case vocabulary, scalar }

  package let trunk: Trunk
  package let kind: Kind
  package let path: String
  /// nil if the head sits on the plain trunk.
  package let adapter: Adapter?
  package let weight: WeightMatrix  // [vocabulary, hidden] or [1, hidden]
  package let bias: Float
  private let file: GGUFFile

  /// Width of what it computes: the vocabulary it was made for, or 1.
  package var outputSize: Int { weight.outputs }

  /// Opens a value-head file for `trunk`.
  ///
  /// Throws `.mismatch` naming the field in which the head and the model differ; `.notFound`, `.io`,
  /// `.corruptFile`, `.unsupported` for the file itself.
  package init(path: String, trunk: Trunk) throws(IVGError) {
    let file = try GGUFFile(path: path)
    let type = try file.metadata.string("general.type") ?? "model"
    guard type == "value_head" else {
      throw IVGError(
        .mismatch, "\(path): general.type is '\(type)'; a value head file is needed here")
    }
    guard let name = try file.metadata.string("value_head.kind") else {
      throw IVGError(.corruptFile, "\(path): value_head.kind is missing")
    }
    guard let kind = Kind(rawValue: name) else {
      throw IVGError(
        .unsupported, "\(path): value_head.kind is '\(name)'; known: vocabulary, scalar")
    }
    try Self.checkTrunk(file, trunk)
    let configuration = trunk.configuration
    guard let score = file.tensor("score_head.weight") else {
      throw IVGError(.corruptFile, "\(path): tensor score_head.weight is missing")
    }
    let rows = kind == .scalar ? 1 : score.rows
    guard score.columns == configuration.hiddenSize, score.rows == rows, rows <= trunk.outputSize
    else {
      throw IVGError(
        .mismatch,
        "\(path): tensor score_head.weight has \(score.columns) columns and \(score.rows) rows; the "
          + "model needs \(configuration.hiddenSize) and "
          + (kind == .scalar ? "1" : "at most \(trunk.outputSize)"))
    }
    let tensors = TensorFinder(file: file)
    weight = try tensors.matrix(
      "score_head.weight", outputs: rows, columns: configuration.hiddenSize)
    bias = try tensors.optionalVector("score_head.bias", count: 1)?.pointee ?? 0
    let own = try Adapter(file: file, trunk: trunk, ignoring: { $0.hasPrefix("score_head.") })
    adapter = own.isEmpty ? nil : own
    self.file = file
    self.trunk = trunk
    self.kind = kind
    self.path = path
  }

  /// The trunk's identity as the file states it, against the trunk at hand.
  private static func checkTrunk(_ file: GGUFFile, _ trunk: Trunk) throws(IVGError) {
    let configuration = trunk.configuration
    let stated = try file.metadata.string("value_head.trunk.architecture")
    if let stated, stated != configuration.architecture.name {
      throw IVGError(
        .mismatch,
        "\(file.path): value_head.trunk.architecture is '\(stated)'; the model's is "
          + "'\(configuration.architecture.name)'")
    }
    let sizes = [
      ("embedding_length", configuration.hiddenSize), ("block_count", configuration.layerCount),
    ]
    for (name, size) in sizes {
      let key = "value_head.trunk.\(name)"
      if let value = try file.metadata.int(key, in: 1...(1 << 30)), value != size {
        throw IVGError(.mismatch, "\(file.path): \(key) is \(value); the model's is \(size)")
      }
    }
    let key = "value_head.trunk.vocabulary_size"
    if let value = try file.metadata.int(key, in: 1...(1 << 30)), value > trunk.outputSize {
      throw IVGError(
        .mismatch, "\(file.path): \(key) is \(value); the model has \(trunk.outputSize)")
    }
  }
}
