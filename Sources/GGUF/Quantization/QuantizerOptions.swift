import Tensor

/// How a model is to be quantised. Names are those of `QuantizationMix` and of tensor types.
package struct QuantizerOptions {
  /// The mix, "Q4_K_M"; required.
  package var type = ""
  /// Every matrix gets the type of the mix that is for the most, where its rows allow it.
  package var isPure = false
  /// Of the output matrix, also where it is the embedding's; nil: as the mix says.
  package var outputType: String?
  /// Of the token embedding; nil: as the mix says.
  package var embeddingType: String?
  /// Importance weights; nil: none.
  package var importancePath: String?
  /// Threads that work, the calling one included.
  package var threadCount = ThreadTeam.processorCount
  /// Bytes beside the mapped files.
  package var memoryBudget = 1 << 30

  package init() {}
}

/// The options that decide about types, understood.
struct QuantizationChoice {
  let mix: QuantizationMix
  let isPure: Bool
  let outputType: TensorType?
  let embeddingType: TensorType?

  /// Throws `.invalidArgument` for an unknown name, listing the known ones.
  init(_ options: QuantizerOptions) throws(IVGError) {
    guard let mix = QuantizationMix.named(options.type) else {
      let known = QuantizationMix.all.map(\.name).joined(separator: ", ")
      throw IVGError(.invalidArgument, "type \(quoted(options.type)): must be one of \(known)")
    }
    self.mix = mix
    isPure = options.isPure
    outputType = try Self.type(options.outputType, "output_type")
    embeddingType = try Self.type(options.embeddingType, "embedding_type")
  }

  private static func type(_ name: String?, _ field: String) throws(IVGError) -> TensorType? {
    guard let name else { return nil }
    guard let type = TensorType.named(name) else {
      let known = TensorType.allCases.map(\.name).joined(separator: ", ")
      throw IVGError(.invalidArgument, "\(field) \(quoted(name)): must be one of \(known)")
    }
    return type
  }
}
