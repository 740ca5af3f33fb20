import GGUF
import Tensor

/// Text to token ids and back, as a model file defines it.
///
/// Ownership: keeps nothing of the file it was read from; byte ranges it hands out live as long as
/// it does. Threads: immutable, shareable between any number of threads.
package final class Tokenizer: @unchecked Sendable {
  /// Entries in `tokenizer.ggml.tokens`; ids are 0 to this minus one.
  package let vocabularySize: Int

  /// The file's begin-of-sequence token.
  package let beginToken: Int32?

  /// The file's end-of-sequence token.
  package let endToken: Int32?

  /// Every token that ends generation, ascending: the file's end-of-sequence, end-of-turn and
  /// end-of-message tokens, and control tokens known by their text.
  package let endTokens: [Int32]

  /// Whether the model expects `beginToken` before a text: what the file says, else the custom of
  /// its pre-tokenizer. Never true without a `beginToken`.
  package let addsBeginToken: Bool

  /// `tokenizer.ggml.model`: the kind of tokenizer, in the file's word.
  package let kindName: String

  /// `tokenizer.ggml.pre`: the rules by which text is cut into words; `default` when the file
  /// names none.
  package let preTokenizerName: String

  /// Bytes and kinds of all tokens.
  let vocabulary: Vocabulary

  /// How text without special tokens is encoded.
  let model: any TokenizerModel

  /// What becomes of text between special tokens before it is encoded.
  let normalizer: TextNormalizer

  /// What is found in text when special tokens are parsed.
  let allSpecials: AddedTokens

  /// What is found in text always.
  let userDefined: AddedTokens

  /// What special and user-defined tokens ask of the text around them.
  let addedRules: AddedTokenRules

  /// Where texts may be cut as far as user-defined tokens are concerned.
  let seamRule: SeamRule

  /// Reads the tokenizer of `file`.
  ///
  /// Throws `.unsupported` for a kind of tokenizer or rules that are not known, listing those that
  /// are; `.corruptFile` naming the field when one is missing or wrong; `.outOfMemory`.
  package init(file: GGUFFile) throws(IVGError) {
    let kind = try Kind(file: file)
    let preTokenizer = try Self.withCase(Self.preTokenizer(of: file, kind), file: file)
    let alphabet = ByteAlphabet()
    let vocabulary = try Vocabulary(
      file: file, spelling: kind == .bytePair ? .bytes(alphabet) : .pieces)
    self.kindName = kind.rawValue
    self.preTokenizerName = preTokenizer.name
    self.vocabulary = vocabulary
    vocabularySize = vocabulary.count
    switch kind {
    case .bytePair:
      model = try BytePairModel(
        file: file, vocabulary: vocabulary, preTokenizer: preTokenizer, alphabet: alphabet)
    case .sentencePiece: model = try SentencePieceModel(file: file, vocabulary: vocabulary)
    }

    var specials: [Int32] = []
    var userDefined: [Int32] = []
    for id in 0..<vocabulary.count {
      switch vocabulary.kind(of: id) {
      case .control, .unknown: specials.append(Int32(truncatingIfNeeded: id))
      case .userDefined where vocabulary.isVerbatim(id):
        specials.append(Int32(truncatingIfNeeded: id))
        userDefined.append(Int32(truncatingIfNeeded: id))
      case .normal, .unused, .byte, .userDefined: break
      }
    }
    let rules = try AddedTokenRules(file: file, vocabulary: vocabulary, specials: specials)
    addedRules = rules
    normalizer = try TextNormalizer(file: file, kind: kind)
    allSpecials = AddedTokens(vocabulary: vocabulary, ids: specials, rules: rules)
    self.userDefined = AddedTokens(vocabulary: vocabulary, ids: userDefined, rules: rules)

    let count = vocabulary.count
    beginToken =
      try Self.token(of: file, "bos", count: count) ?? kind.customaryToken(1, vocabulary)
    let endToken =
      try Self.token(of: file, "eos", count: count) ?? kind.customaryToken(2, vocabulary)
    self.endToken = endToken
    var ends = endToken.map { [$0] } ?? []
    for name in ["eot", "eom"] {
      if let id = try Self.token(of: file, name, count: count) { ends.append(id) }
    }
    for id in specials where Self.isEndText(vocabulary.bytes(of: Int(id))) { ends.append(id) }
    endTokens = Self.sortedDistinct(ends)

    let addsBegin = try file.metadata.bool("tokenizer.ggml.add_bos_token")
    if addsBegin == true && beginToken == nil {
      throw IVGError(
        .corruptFile,
        "\(file.path): tokenizer.ggml.add_bos_token is true, but tokenizer.ggml.bos_token_id is "
          + "missing")
    }
    addsBeginToken =
      beginToken != nil && (addsBegin ?? (preTokenizer.addsBegin || kind == .sentencePiece))
    seamRule = SeamRule(
      vocabulary: vocabulary, userDefined: userDefined, rules: rules, model: model)
  }
}
