/// The seven projections of a layer, in the order a forward pass meets them. Adapters are keyed by it.
package enum Projection: Int, CaseIterable, Sendable {
  case query, key, value, attentionOutput, gate, up, down

  /// The middle part of its GGUF tensor name, `blk.N.<name>.weight`.
  package var tensorName: String {
    switch self {
    case .query: "attn_q"
    case .key: "attn_k"
    case .value: "attn_v"
    case .attentionOutput: "attn_output"
    case .gate: "ffn_gate"
    case .up: "ffn_up"
    case .down: "ffn_down"
    }
  }

  /// The weight's shape in a model: outputs × columns.
  package func shape(_ configuration: ModelConfiguration) -> (outputs: Int, columns: Int) {
    let c = configuration
    switch self {
    case .query: return (c.querySize, c.hiddenSize)
    case .key, .value: return (c.keyValueSize, c.hiddenSize)
    case .attentionOutput: return (c.hiddenSize, c.querySize)
    case .gate, .up: return (c.feedForwardSize, c.hiddenSize)
    case .down: return (c.hiddenSize, c.feedForwardSize)
    }
  }
}
