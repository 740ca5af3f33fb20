import GGUF
import Tensor

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

/// The weights of one layer: borrowed views into the mapped file.
package struct LayerWeights: @unchecked Sendable {
  package let projections: [WeightMatrix]  // [7] indexed by Projection, each [outputs, columns]
  package let biases: [UnsafePointer<Float>?]  // [7] each [outputs]
  package let attentionNorm: UnsafePointer<Float>  // [hidden]
  package let attentionNormBias: UnsafePointer<Float>?  // [hidden]
  package let feedForwardNorm: UnsafePointer<Float>  // [hidden]
  package let feedForwardNormBias: UnsafePointer<Float>?  // [hidden]

  /// Finds and checks the tensors of layer `index`.
  ///
  /// Throws `.corruptFile` naming the tensor that is missing or has another shape than the metadata
  /// says.
  init(file: GGUFFile, configuration: ModelConfiguration, index: Int) throws(IVGError) {
    let tensors = TensorFinder(file: file)
    var projections: [WeightMatrix] = []
    var biases: [UnsafePointer<Float>?] = []
    for projection in Projection.allCases {
      let (outputs, columns) = projection.shape(configuration)
      let stem = "blk.\(index).\(projection.tensorName)"
      projections.append(
        try tensors.matrix("\(stem).weight", outputs: outputs, columns: columns))
      biases.append(try tensors.optionalVector("\(stem).bias", count: outputs))
      if biases.last! == nil, configuration.architecture.projectionBias,
        projection.rawValue <= Projection.value.rawValue
      {
        throw IVGError(.corruptFile, "\(file.path): tensor \(stem).bias is missing")
      }
    }
    self.projections = projections
    self.biases = biases
    let hidden = configuration.hiddenSize
    attentionNorm = try tensors.vector("blk.\(index).attn_norm.weight", count: hidden)
    attentionNormBias = try tensors.optionalVector("blk.\(index).attn_norm.bias", count: hidden)
    feedForwardNorm = try tensors.vector("blk.\(index).ffn_norm.weight", count: hidden)
    feedForwardNormBias = try tensors.optionalVector("blk.\(index).ffn_norm.bias", count: hidden)
  }
}
