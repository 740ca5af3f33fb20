import Tensor

/// What distinguishes one family of transformers from another, as data for the one forward pass.
///
/// A new family is a new entry in `known`: if its layers need something that no entry has yet, it
/// becomes a new property here and a branch in the forward pass, never a second pass. Weights that a
/// family lacks (biases, extra norms) are simply absent from its layers; see `LayerWeights`.
package struct Architecture: Sendable {
  /// How a row is normalised before a sublayer.
  package enum Normalization: Sendable { case rootMeanSquare, layer }
  /// Which elements of a head rotate together.
  package enum Rotation: Sendable { case none, interleaved, halves }
  /// The non-linearity of the feed-forward layer, applied to its gate.
  package enum Activation: Sendable { case silu, gelu }

  /// `general.architecture`, also the prefix of its metadata keys.
  package var name: String
  package var normalization: Normalization = .rootMeanSquare
  package var rotation: Rotation
  package var activation: Activation = .silu
  /// Whether the query, key and value projections carry biases.
  package var projectionBias = false

  package static let known: [Architecture] = [
    Architecture(name: "llama", rotation: .interleaved),
    Architecture(name: "qwen2", rotation: .halves, projectionBias: true),
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
