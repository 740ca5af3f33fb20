import GGUF

/// Where a projection's rows are in a file: a tensor of its own, or part of one that holds several
/// projections of one input below each other.
struct ProjectionSource: Sendable {
  /// The tensor's name without `.weight` or `.bias`.
  let stem: String
  /// The projection's first row in it.
  let firstRow: Int
  /// Rows of the whole tensor.
  let rows: Int
  let columns: Int

  /// The sources of layer `index`, by projection; nil for what the layers of this model do not have.
  static func all(file: GGUFFile, configuration c: ModelConfiguration, layer index: Int)
    -> [ProjectionSource?]
  {
    let stem = "blk.\(index)."
    let fusesAttention = file.tensor(stem + "attn_qkv.weight") != nil
    let fusesGate =
      c.architecture.isGated && file.tensor(stem + "ffn_gate.weight") == nil
      && file.tensor(stem + "ffn_up.weight")?.rows == 2 * c.feedForwardSize
    return Projection.allCases.map { projection in
      let (outputs, columns) = projection.shape(c)
      func source(_ name: String, _ firstRow: Int, _ rows: Int) -> ProjectionSource {
        ProjectionSource(stem: stem + name, firstRow: firstRow, rows: rows, columns: columns)
      }
      switch projection {
      case .query where fusesAttention, .key where fusesAttention, .value where fusesAttention:
        let before = [0, c.querySize, c.querySize + c.keyValueSize][projection.rawValue]
        return source("attn_qkv", before, c.querySize + 2 * c.keyValueSize)
      case .gate where c.expertCount > 0, .up where c.expertCount > 0,
        .down where c.expertCount > 0:
        return nil
      case .gate where !c.architecture.isGated: return nil
      case .gate where fusesGate, .up where fusesGate:
        return source("ffn_up", projection == .gate ? 0 : outputs, 2 * outputs)
      default: return source(projection.tensorName, 0, outputs)
      }
    }
  }
}
