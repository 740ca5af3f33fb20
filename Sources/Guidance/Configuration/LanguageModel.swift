import Tensor
import Tokenizer
import Transformer

/// What a guidance or a session calls a model: a file's trunk, or logits that the host computes.
package final class LanguageModel: @unchecked Sendable {
  package enum Source {
    case file(Model)
    case hosted(HostedModel)
  }

  package let source: Source
  package let tokenizer: Tokenizer
  /// One more than the last id that is no padding.
  let realTokenCount: Int

  package init(_ model: Model) {
    source = .file(model)
    tokenizer = model.tokenizer
    realTokenCount = Self.realTokenCount(model.tokenizer)
  }

  package init(hosted: HostedModel, vocabulary: Tokenizer) {
    source = .hosted(hosted)
    tokenizer = vocabulary
    realTokenCount = Self.realTokenCount(vocabulary)
  }

  private static func realTokenCount(_ tokenizer: Tokenizer) -> Int {
    var count = tokenizer.vocabularySize
    while count > 0, !tokenizer.isReal(Int32(count - 1)) { count -= 1 }
    return count
  }

  /// Ids that it can both read and predict: 0 ..< this.
  var usableTokenCount: Int { min(outputSize, tokenizer.vocabularySize) }

  /// The trunk to run.
  ///
  /// Throws `.unsupported` for a hosted model and for a file that holds only a vocabulary.
  package func trunk(for purpose: String) throws(IVGError) -> Trunk {
    switch source {
    case .hosted:
      throw IVGError(.unsupported, "\(purpose) needs a model file; this model is hosted")
    case .file(let model):
      guard let trunk = model.trunk else {
        throw IVGError(
          .unsupported, "\(model.file.path): holds only a vocabulary; \(purpose) needs weights")
      }
      return trunk
    }
  }

  package var isHosted: Bool {
    if case .hosted = source { true } else { false }
  }

  /// Width of a logits vector.
  package var outputSize: Int {
    switch source {
    case .file(let model): model.trunk?.outputSize ?? 0
    case .hosted: tokenizer.vocabularySize
    }
  }

  /// The error for logits or values that are no numbers.
  func damaged() -> IVGError {
    switch source {
    case .hosted: IVGError(.callback, "the hosted model gave logits that are not numbers")
    case .file:
      IVGError(
        .corruptFile, "\(label): computes values that are not numbers; its weights are damaged")
    }
  }

  /// What errors call it.
  package var label: String {
    switch source {
    case .file(let model): model.file.path
    case .hosted: "the hosted model"
    }
  }
}
