import GGUF
import Tensor

/// Low-rank deltas for a trunk: for each adapted projection W of a layer, y += scale · B (A x).
/// Borrowed views into a mapped GGUF adapter file, as llama.cpp reads and writes them. Immutable.
package final class Adapter: @unchecked Sendable {
  /// One adapted projection.
  package struct Delta {
    package let a: WeightMatrix  // [rank, columns]
    package let b: WeightMatrix  // [outputs, rank]
    package let scale: Float

    /// Where both lie in memory; nil if they are far apart.
    var bytes: UnsafeRawBufferPointer? {
      let first = a.bytes(ofTiles: 0..<a.tiles)
      let second = b.bytes(ofTiles: 0..<b.tiles)
      let span = second.baseAddress! + second.count - first.baseAddress!
      guard span > 0, span <= 2 * (first.count + second.count) else { return nil }
      return UnsafeRawBufferPointer(start: first.baseAddress!, count: span)
    }
  }

  package let trunk: Trunk
  package let path: String
  /// The largest rank of its deltas.
  let maximumRank: Int
  private let deltas: [Delta?]  // [layers × 7]
  private let file: GGUFFile

  /// Opens an adapter file for `trunk`.
  ///
  /// Throws `.mismatch` naming the tensor that does not fit the trunk; `.notFound`, `.io`,
  /// `.corruptFile`, `.unsupported` for the file itself.
  package convenience init(path: String, trunk: Trunk) throws(IVGError) {
    let file = try GGUFFile(path: path)
    let type = try file.metadata.string("general.type") ?? "model"
    guard type == "adapter" else {
      throw IVGError(
        .mismatch, "\(path): general.type is '\(type)'; an adapter file is needed here")
    }
    if let kind = try file.metadata.string("adapter.type"), kind != "lora" {
      throw IVGError(.unsupported, "\(path): adapter.type is '\(kind)'; known: lora")
    }
    try self.init(file: file, trunk: trunk, ignoring: { _ in false })
  }

  /// Takes the adapter's tensors of `file`, leaving out those that `ignoring` names.
  init(file: GGUFFile, trunk: Trunk, ignoring: (String) -> Bool) throws(IVGError) {
    let name = trunk.configuration.architecture.name
    if let architecture = try file.metadata.string("general.architecture"), architecture != name {
      throw IVGError(
        .mismatch,
        "\(file.path): general.architecture is '\(architecture)'; the model's is '\(name)'")
    }
    let alpha = try file.metadata.float("adapter.lora.alpha")
    var deltas = [Delta?](repeating: nil, count: trunk.configuration.layerCount * 7)
    var known: Set<String> = []
    var rank = 0
    for (index, layer) in trunk.layers.enumerated() {
      for projection in Projection.allCases {
        guard let source = layer.sources[projection.rawValue],
          let delta = try Self.delta(source, projection, file, trunk, alpha)
        else { continue }
        deltas[index * 7 + projection.rawValue] = delta
        rank = max(rank, delta.a.outputs)
        known.formUnion(Self.tensorNames(source))
      }
    }
    for tensor in file.tensors where !ignoring(tensor.name) && !known.contains(tensor.name) {
      throw IVGError(
        .mismatch,
        "\(file.path): tensor \(tensor.name) adapts nothing in the model; known are "
          + "blk.0...\(trunk.layers.count - 1).{\(Self.knownParts(trunk))}.weight.lora_a and .lora_b"
      )
    }
    self.file = file
    self.trunk = trunk
    self.path = file.path
    self.deltas = deltas
    maximumRank = rank
  }

  /// The delta of one projection, or nil if it is not adapted.
  package func delta(layer: Int, _ projection: Projection) -> Delta? {
    deltas[layer * 7 + projection.rawValue]
  }

  /// True if no projection is adapted.
  var isEmpty: Bool { maximumRank == 0 }

  private static func tensorNames(_ source: ProjectionSource) -> [String] {
    [source.stem + ".weight.lora_a", source.stem + ".weight.lora_b"]
  }

  /// What of a layer can be adapted, for a message.
  private static func knownParts(_ trunk: Trunk) -> String {
    var parts: [String] = []
    for source in trunk.layers[0].sources {
      guard let part = source?.stem.split(separator: ".").last.map(String.init),
        !parts.contains(part)
      else { continue }
      parts.append(part)
    }
    return parts.joined(separator: ",")
  }

  /// The delta of a projection: of the tensor that holds it, these rows.
  private static func delta(
    _ source: ProjectionSource, _ projection: Projection, _ file: GGUFFile, _ trunk: Trunk,
    _ alpha: Double?
  ) throws(IVGError) -> Delta? {
    let stem = source.stem + ".weight"
    let first = file.tensor(stem + ".lora_a")
    let second = file.tensor(stem + ".lora_b")
    if first == nil, second == nil { return nil }
    guard let first, let second else {
      let missing = first == nil ? ".lora_a" : ".lora_b"
      throw IVGError(.corruptFile, "\(file.path): tensor \(stem)\(missing) is missing")
    }
    let (outputs, columns) = (source.rows, source.columns)
    let rank = first.rows
    guard first.columns == columns, second.rows == outputs, second.columns == rank,
      (1...1024).contains(rank)
    else {
      throw IVGError(
        .mismatch,
        "\(file.path): \(stem).lora_a is \(first.columns) × \(first.rows) and .lora_b "
          + "\(second.columns) × \(second.rows); the model's \(columns) × \(outputs) needs "
          + "\(columns) × r and r × \(outputs), r within 1...1024")
    }
    for tensor in [first, second] where tensor.type.isQuantized {
      throw IVGError(
        .unsupported,
        "\(file.path): tensor \(tensor.name) is \(tensor.type.name); adapters are known as F32, F16 "
          + "and BF16")
    }
    let tensors = TensorFinder(file: file)
    let whole = try tensors.matrix(second.name, outputs: outputs, columns: rank)
    let own = source.firstRow..<source.firstRow + projection.shape(trunk.configuration).outputs
    return Delta(
      a: try tensors.matrix(first.name, outputs: rank, columns: columns), b: whole.rows(own),
      scale: alpha.map { $0 == 0 ? 1 : Float($0 / Double(rank)) } ?? 1)
  }
}
