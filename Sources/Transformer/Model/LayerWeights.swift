import GGUF
import Tensor

/// The weights of one layer: borrowed views into the mapped file.
package struct LayerWeights: @unchecked Sendable {
  package let projections: [WeightMatrix?]  // [7] indexed by Projection, each [outputs, columns]
  package let biases: [UnsafePointer<Float>?]  // [7] each [outputs]
  /// Where the projections are in the file.
  let sources: [ProjectionSource?]  // [7]
  /// In place of gate, up and down where the model has experts.
  package let experts: ExpertWeights?
  // Norms; nil where the family has none in this place.
  package let attentionNorm: NormWeights?  // [hidden]
  package let attentionOutputNorm: NormWeights?  // [hidden]
  package let feedForwardNorm: NormWeights?  // [hidden]
  package let feedForwardOutputNorm: NormWeights?  // [hidden]
  package let queryNorm: NormWeights?  // [head size], or [heads × head size] of all together
  package let keyNorm: NormWeights?  // [head size], or [kv heads × head size]

  /// Whether a tensor of the file holds several projections.
  package var isFused: Bool { sources.contains { ($0?.firstRow ?? 0) > 0 } }

  /// Finds and checks the tensors of layer `index`.
  ///
  /// Throws `.corruptFile` naming the tensor that is missing or has another shape than the metadata
  /// says.
  init(file: GGUFFile, configuration: ModelConfiguration, index: Int) throws(IVGError) {
    let tensors = TensorFinder(file: file)
    sources = ProjectionSource.all(file: file, configuration: configuration, layer: index)
    var projections: [WeightMatrix?] = []
    var biases: [UnsafePointer<Float>?] = []
    for projection in Projection.allCases {
      guard let source = sources[projection.rawValue] else {
        projections.append(nil)
        biases.append(nil)
        continue
      }
      let outputs = projection.shape(configuration).outputs
      let whole = try tensors.matrix(
        source.stem + ".weight", outputs: source.rows, columns: source.columns)
      projections.append(whole.rows(source.firstRow..<source.firstRow + outputs))
      let bias = try tensors.optionalVector(source.stem + ".bias", count: source.rows)
      biases.append(bias.map { $0 + source.firstRow })
      if bias == nil, configuration.architecture.projectionBias,
        projection.rawValue <= Projection.value.rawValue
      {
        throw IVGError(.corruptFile, "\(file.path): tensor \(source.stem).bias is missing")
      }
    }
    self.projections = projections
    self.biases = biases
    experts =
      configuration.expertCount == 0
      ? nil : try ExpertWeights(file: file, configuration: configuration, index: index)

    let architecture = configuration.architecture
    func norm(_ name: String, _ isThere: Bool, _ width: Int) throws(IVGError) -> NormWeights? {
      guard isThere else { return nil }
      return try tensors.norm("blk.\(index).\(name)", width: width, architecture)
    }
    let hidden = configuration.hiddenSize
    attentionNorm = try norm("attn_norm", architecture.normalizesInput, hidden)
    feedForwardNorm = try norm("ffn_norm", architecture.normalizesInput, hidden)
    attentionOutputNorm = try norm("post_attention_norm", architecture.normalizesOutput, hidden)
    feedForwardOutputNorm = try norm("post_ffw_norm", architecture.normalizesOutput, hidden)
    let heads = architecture.headNormalization
    let isTogether = heads == .together
    queryNorm = try norm(
      "attn_q_norm", heads != .none, isTogether ? configuration.querySize : configuration.headSize)
    keyNorm = try norm(
      "attn_k_norm", heads != .none,
      isTogether ? configuration.keyValueSize : configuration.headSize)
  }
}
