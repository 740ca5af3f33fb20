import GGUF
import Tensor

/// Special tokens that take the white space behind them along, as Phi-3's do: `<|user|>` and a
/// newline is the same as `<|user|>` alone. Files do not say so; like llama.cpp this goes by the
/// model's name.
///
/// Threads: a plain value, shareable.
struct StrippingTokens: Sendable {
  /// The tokens, ascending.
  private let ids: [Int32]

  /// Those among `specials` of the model in `file`. Throws `.corruptFile` if its name is no text.
  init(file: GGUFFile, vocabulary: Vocabulary, specials: [Int32]) throws(IVGError) {
    let name = (try file.metadata.string("general.name") ?? "").lowercased()
    guard name.has(part: "phi-3") || name.has(part: "phi3") else {
      ids = []
      return
    }
    ids = specials.filter { id in
      let text = vocabulary.bytes(of: Int(id))
      return !["<unk>", "<s>", "<|endoftext|>"].contains { text.elementsEqual($0.utf8) }
    }
  }

  func contains(_ token: Int32) -> Bool { !ids.isEmpty && ids.contains(token) }

  /// `text` without the white space at its beginning.
  static func stripped(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: text.drop { isSpace($0) })
  }

  /// Whether `byte` is white space of ASCII.
  static func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || (byte >= 0x09 && byte <= 0x0D)
  }
}
