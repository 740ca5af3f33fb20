import GGUF
import Tensor
import Tokenizer
import Transformer

extension LanguageModel {
  /// The chat template `source`, or with nil that of the model's own file.
  ///
  /// Throws `.unsupported` if there is none or it is not known; `.corruptFile`.
  package func chatTemplate(_ source: [UInt8]?) throws(IVGError) -> ChatTemplate {
    if let source {
      return try ChatTemplate(
        source: source, label: "the given one", begin: tokenizer.text(of: tokenizer.beginToken),
        end: tokenizer.text(of: tokenizer.endToken))
    }
    guard case .file(let model) = self.source else {
      throw IVGError(.unsupported, "\(label): a hosted model has no chat template of its own")
    }
    return try ChatTemplate(file: model.file, tokenizer: tokenizer)
  }
}
