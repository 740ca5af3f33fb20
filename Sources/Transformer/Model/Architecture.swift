import Tensor

/// What distinguishes one family of transformers from another, as data for the one forward pass.
///
/// The defaults are a pre-norm decoder with RMS norms, rotated heads and a gated feed-forward layer; a
/// family names what it has otherwise, in a file of its own in `Architectures/`. Weights that a family
/// lacks (biases, gates, extra norms) are absent from its layers; see `LayerWeights`. What differs
/// between models of one family is in `ModelConfiguration`.
package struct Architecture: Sendable {
  /// How a row is normalised.
  package enum Normalization: Sendable { case rootMeanSquare, layer }
  /// Which elements of a head rotate together.
  package enum Rotation: Sendable { case none, interleaved, halves }
  /// The non-linearity of the feed-forward layer, applied to its gate, or to `up` where there is none.
  /// The names are those of `<architecture>.hidden_activation`.
  package enum Activation: String, CaseIterable, Sendable {
    case silu, gelu
    case geluTanh = "gelu_pytorch_tanh"
    case geluQuick = "quick_gelu"
  }
  /// What of queries and keys is normalised before they are rotated: nothing, every head by itself, or
  /// all heads of a row together.
  package enum HeadNormalization: Sendable { case none, each, together }

  /// `general.architecture`, also the prefix of its metadata keys.
  package var name: String
  package var normalization: Normalization = .rootMeanSquare
  /// Whether norms have weights.
  package var hasNormWeights = true
  /// Whether the input of a sublayer is normalised.
  package var normalizesInput = true
  /// Whether the output of a sublayer is normalised before it is added to the residual stream.
  package var normalizesOutput = false
  package var headNormalization: HeadNormalization = .none
  package var rotation: Rotation
  /// Whether a learned vector of its position is added to a token's embedding.
  package var hasPositionEmbedding = false
  /// Whether embeddings are multiplied by the square root of their width.
  package var scalesEmbedding = false
  package var isGated = true
  /// Whether the query, key and value projections must carry biases.
  package var projectionBias = false

  // What a file of this family means that does not say otherwise.

  package var activation: Activation = .silu
  /// Tokens that a sliding layer attends to; 0: all layers attend to everything.
  package var slidingWindow = 0
  /// Every n-th layer attends to everything, the others slide; 0: all slide.
  package var slidingPattern = 0
  /// The base of the rotation in sliding layers, where it is not that of the others.
  package var slidingRotaryBase: Double?
  /// Bounds attention scores, and logits, to cap · tanh(x / cap); 0: no bound.
  package var attentionCap: Double = 0
  package var outputCap: Double = 0
  /// The number of layers of the family's one model that scales attention by the width of an even share
  /// of the hidden state rather than by that of a head.
  package var evenScaleLayerCount: Int?

  package static let known: [Architecture] = [
    .llama, .gpt2, .qwen2, .qwen3, .gemma, .gemma2, .gemma3, .olmo, .olmo2, .phi3,
  ]

  /// The architecture that a file names.
  ///
  /// Throws `.unsupported`, naming the architecture and what is known.
  static func named(_ name: String, file: String) throws(IVGError) -> Architecture {
    if let found = known.first(where: { $0.name == name }) { return found }
    let names = known.map(\.name).joined(separator: ", ")
    throw IVGError(
      .unsupported, "\(file): general.architecture is '\(name)'; known architectures: \(names)")
  }
}
