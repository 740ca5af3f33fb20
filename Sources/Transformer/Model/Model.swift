import GGUF
import Tensor
import Tokenizer

/// A model file opened for use: description, tokenizer and mapped weights. Immutable; may be shared by
/// any number of engines and threads. Opening reads metadata only.
package final class Model: @unchecked Sendable {
  package let file: GGUFFile
  package let tokenizer: Tokenizer
  /// nil for a file that holds only a vocabulary.
  package let trunk: Trunk?
  /// `general.architecture`, or "" where a vocabulary file names none.
  package let architectureName: String

  /// Opens a model file, or one that holds only a vocabulary.
  ///
  /// Throws `.notFound`, `.io`, `.corruptFile`, `.unsupported`, `.mismatch`; the message names the
  /// file and the field.
  package init(path: String) throws(IVGError) {
    file = try GGUFFile(path: path)
    if let type = try file.metadata.string("general.type"), type != "model" {
      throw IVGError(
        .mismatch, "\(path): general.type is '\(type)'; a model file is needed here")
    }
    architectureName = try file.metadata.string("general.architecture") ?? ""
    if file.tensors.isEmpty {
      tokenizer = try Tokenizer(file: file)
      trunk = nil
    } else {
      let configuration = try ModelConfiguration(file: file)
      tokenizer = try Tokenizer(file: file)
      trunk = try Trunk(
        file: file, configuration: configuration, vocabularySize: tokenizer.vocabularySize)
    }
  }
}
