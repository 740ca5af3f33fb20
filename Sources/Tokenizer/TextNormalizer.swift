import GGUF
import Tensor

/// What becomes of a text between special tokens before it is cut (`tokenizer.ivg.normalizer`).
///
/// Files of llama.cpp have no such key: there texts stay as they are. Threads: a plain value, shareable.
enum TextNormalizer: String, Sendable {
  /// Texts stay as they are.
  case none
  /// Canonical composition, as Qwen's and OLMo's tokenizers ask for.
  case nfc

  /// What `file` says. Throws `.corruptFile` if it is no text, `.unsupported` if it is not known, or not for
  /// tokenizers of this kind.
  init(file: GGUFFile, kind: Tokenizer.Kind) throws(IVGError) {
    let key = "tokenizer.ivg.normalizer"
    guard let name = try file.metadata.string(key) else {
      self = .none
      return
    }
    guard let found = TextNormalizer(rawValue: name) else {
      throw IVGError(
        .unsupported,
        "\(file.path): \(key) is \"\(Tokenizer.shortened(name))\", which is not supported; known: none, nfc")
    }
    guard found == .none || kind == .bytePair else {
      throw IVGError(
        .unsupported,
        "\(file.path): \(key) is \"\(name)\", which is supported with tokenizer.ggml.model gpt2 only, not "
          + "\(kind.rawValue)")
    }
    self = found
  }

  /// The longest text that stays within what tokens can be numbered by.
  var longestText: Int {
    self == .none ? Int(Int32.max) - 1 : Int(Int32.max) / CanonicalComposition.longestExpansion - 1
  }

  /// Calls `body` once with what becomes of `text`; borrowed for the call.
  @inline(__always)
  func normalized(_ text: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
    switch self {
    case .none: body(text)
    case .nfc: CanonicalComposition.shared.composed(text, body)
    }
  }
}
