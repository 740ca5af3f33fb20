import GGUF
import Tensor

/// The weights of a model with their sizes: what a forward pass reads. Borrowed views into the mapped
/// file, which this object keeps open. Immutable.
package final class Trunk: @unchecked Sendable {
  package let configuration: ModelConfiguration
  /// Rows of the output matrix: the width of a logits vector. At least the tokenizer's vocabulary,
  /// more where a file pads it.
  package let outputSize: Int
  package let file: GGUFFile
  /// The file's path, for messages.
  package var path: String { file.path }
  package let embedding: WeightMatrix  // [vocabulary, hidden]
  package let layers: [LayerWeights]  // [layers]
  let positionEmbedding: WeightMatrix?  // [context, hidden]
  package let outputNorm: NormWeights  // [hidden]
  package let output: WeightMatrix  // [vocabulary, hidden]; the embedding where the file ties them
  /// Divides the rotation frequency of each pair (Llama 3's rope scaling).
  let rotaryFactors: UnsafePointer<Float>?  // [pairs]
  /// The same for sequences within `originalContextLength`, and for longer ones (LongRoPE).
  let shortRotaryFactors: UnsafePointer<Float>?  // [pairs]
  let longRotaryFactors: UnsafePointer<Float>?  // [pairs]
  let originalContextLength: Int

  /// Finds and checks every tensor. Touches no weight.
  ///
  /// Throws `.corruptFile` naming a tensor that is missing, of another shape, or narrower than the
  /// vocabulary.
  init(file: GGUFFile, configuration: ModelConfiguration, vocabularySize: Int) throws(IVGError) {
    let tensors = TensorFinder(file: file)
    let hidden = configuration.hiddenSize
    let rows = file.tensor("token_embd.weight")?.rows ?? vocabularySize
    guard rows >= vocabularySize, rows <= 1 << 24 else {
      throw IVGError(
        .corruptFile,
        "\(file.path): tensor token_embd.weight has \(rows) rows; the vocabulary has "
          + "\(vocabularySize) tokens")
    }
    self.file = file
    self.configuration = configuration
    outputSize = rows
    embedding = try tensors.matrix("token_embd.weight", outputs: rows, columns: hidden)
    output =
      try tensors.optionalMatrix("output.weight", outputs: rows, columns: hidden) ?? embedding
    positionEmbedding =
      configuration.architecture.hasPositionEmbedding
      ? try tensors.matrix(
        "position_embd.weight", outputs: configuration.contextLength, columns: hidden) : nil
    outputNorm = try tensors.norm("output_norm", width: hidden, configuration.architecture)
    func factors(_ name: String) throws(IVGError) -> UnsafePointer<Float>? {
      try tensors.rotaryFactors(name, count: configuration.rotaryPairs)
    }
    rotaryFactors = try factors("rope_freqs.weight")
    shortRotaryFactors = try factors("rope_factors_short.weight")
    longRotaryFactors = try factors("rope_factors_long.weight")
    originalContextLength =
      try file.metadata.int(
        "\(configuration.architecture.name).rope.scaling.original_context_length",
        in: 1...(1 << 27)) ?? configuration.contextLength
    var layers: [LayerWeights] = []
    layers.reserveCapacity(configuration.layerCount)
    for index in 0..<configuration.layerCount {
      layers.append(try LayerWeights(file: file, configuration: configuration, index: index))
    }
    self.layers = layers
  }

  /// Elements of all tensors together.
  package var parameterCount: Int {
    file.tensors.reduce(0) { sum, tensor in
      let (count, overflow) = tensor.shape.reduce((1, false)) { partial, extent in
        let product = partial.0.multipliedReportingOverflow(by: extent)
        return (product.partialValue, partial.1 || product.overflow)
      }
      return overflow ? sum : sum &+ count
    }
  }
}
