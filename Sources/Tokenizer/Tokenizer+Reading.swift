import GGUF
import Tensor

extension Tokenizer {
  /// Kinds of tokenizers, in the file's words.
  enum Kind: String {
    case bytePair = "gpt2"
    case sentencePiece = "llama"

    /// The kind that `file` names. Throws `.corruptFile` if there is none, `.unsupported`.
    init(file: GGUFFile) throws(IVGError) {
      let key = "tokenizer.ggml.model"
      guard let name = try file.metadata.string(key) else {
        throw IVGError(.corruptFile, "\(file.path): \(key) is missing: the file has no tokenizer")
      }
      guard let kind = Kind(rawValue: name) else {
        let what = name == "t5" ? " (SentencePiece by unigrams)" : ""
        throw IVGError(
          .unsupported,
          "\(file.path): \(key) is \"\(shortened(name))\"\(what), which is not supported; known: gpt2 "
            + "(byte-level BPE), llama (SentencePiece by merges)")
      }
      self = kind
    }

    /// Begin and end of a text in a SentencePiece vocabulary whose file does not say which they are: the control token
    /// `id`, if it is one.
    func customaryToken(_ id: Int, _ vocabulary: Vocabulary) -> Int32? {
      guard self == .sentencePiece, id < vocabulary.count, vocabulary.kind(of: id) == .control
      else { return nil }
      return Int32(id)
    }
  }

  /// The rules by which text is cut into words, checked to be known; of no meaning to
  /// SentencePiece. Whether words that are tokens are taken whole goes by the rules' name, unless
  /// the file says it by `tokenizer.ivg.ignore_merges`.
  static func preTokenizer(of file: GGUFFile, _ kind: Kind) throws(IVGError) -> PreTokenizer {
    let key = "tokenizer.ggml.pre"
    let name = try file.metadata.string(key) ?? "default"
    guard var preTokenizer = PreTokenizer(named: kind == .bytePair ? name : "default") else {
      throw IVGError(
        .unsupported,
        "\(file.path): \(key) is \"\(shortened(name))\", which is not supported; known: "
          + PreTokenizer.knownNames)
    }
    if let ignoresMerges = try file.metadata.bool("tokenizer.ivg.ignore_merges") {
      preTokenizer.ignoresMerges = ignoresMerges
    }
    return preTokenizer
  }

  /// `rules`, with the exact case of letters if the file asks for it by `tokenizer.ivg.exact_case`. Throws
  /// `.unsupported` if these rules know no case.
  static func withCase(_ rules: PreTokenizer, file: GGUFFile) throws(IVGError) -> PreTokenizer {
    let key = "tokenizer.ivg.exact_case"
    guard try file.metadata.bool(key) == true else { return rules }
    guard let exact = rules.withExactCase else {
      throw IVGError(
        .unsupported, "\(file.path): \(key) is true, but the rules \"\(rules.name)\" know no case of letters")
    }
    return exact
  }

  /// The id in `tokenizer.ggml.<name>_token_id`; nil when it is missing, or all ones as some
  /// writers put for none. Throws `.corruptFile` when it is not in the vocabulary.
  static func token(of file: GGUFFile, _ name: String, count: Int) throws(IVGError) -> Int32? {
    let key = "tokenizer.ggml.\(name)_token_id"
    let none = Int(UInt32.max)
    guard let id = try file.metadata.int(key, in: -1...none), id != -1, id != none else {
      return nil
    }
    guard id < count else {
      throw IVGError(
        .corruptFile, "\(file.path): \(key) is \(id), but the vocabulary has \(count) entries")
    }
    return Int32(id)
  }

  /// Whether `text` is a special token by which models are known to end.
  static func isEndText(_ text: UnsafeRawBufferPointer) -> Bool {
    guard text.count >= 4, text.count <= 16 else { return false }
    switch String(decoding: text, as: UTF8.self) {
    case "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "<end_of_turn>",
      "<|end_of_text|>", "</s>", "<|eom_id|>":
      return true
    default: return false
    }
  }

  /// `ids` ascending, each once.
  static func sortedDistinct(_ ids: [Int32]) -> [Int32] {
    var distinct: [Int32] = []
    for id in ids.sorted() where id != distinct.last { distinct.append(id) }
    return distinct
  }

  /// `name` for a message: at most 64 characters.
  static func shortened(_ name: String) -> String {
    name.count <= 64 ? name : String(name.prefix(64)) + "…"
  }
}
