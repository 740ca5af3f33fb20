import GGUF
import Tensor

/// Where a vocabulary puts a space before a text.
///
/// Threads: a plain value, shareable.
enum SpacePrefix: String, Sendable {
  /// Nowhere.
  case none
  /// At the beginning and behind each special token, whatever the text begins with, as SentencePiece files are read
  /// by llama.cpp.
  case everywhere
  /// At the beginning of the whole text, unless that begins with a space: `Metaspace` of `tokenizers` with the scheme
  /// `first`, as in Mistral's vocabularies since version 0.3.
  case first
  /// At the beginning and behind each special token, unless a space is there: the scheme `always`.
  case always

  /// What `file` says by `tokenizer.ggml.add_space_prefix`, and more exactly by `tokenizer.ivg.space_prefix`, which
  /// counts where it is there.
  ///
  /// Throws `.corruptFile` if a field has another type, `.unsupported` for a word that is not known.
  init(file: GGUFFile) throws(IVGError) {
    let isAdded = try file.metadata.bool("tokenizer.ggml.add_space_prefix") ?? true
    let key = "tokenizer.ivg.space_prefix"
    guard let word = try file.metadata.string(key) else {
      self = isAdded ? .everywhere : .none
      return
    }
    guard let prefix = SpacePrefix(rawValue: word) else {
      throw IVGError(
        .unsupported,
        "\(file.path): \(key) is \"\(Tokenizer.shortened(word))\", which is not supported; known: none, everywhere, first, "
          + "always")
    }
    self = prefix
  }

  /// Whether a stretch of text behind a special token gets a space too.
  var countsBehindSpecials: Bool { self == .everywhere || self == .always }

  /// Whether `text`, which begins a text or follows a special token for which that counts, gets a space.
  func applies(to text: UnsafeRawBufferPointer) -> Bool {
    switch self {
    case .none: false
    case .everywhere: true
    case .first, .always:
      text.first != UInt8(ascii: " ") && !text.starts(with: TokenSpelling.spaceMark)
    }
  }
}
