import GGUF
import Tensor
import Testing
import Tokenizer

/// What a tokenizer takes from a file, and what it refuses.
@Suite struct TokenizerTests {
  /// The error that reading `vocabulary` throws.
  private func failure(_ vocabulary: TestVocabulary) -> IVGError? {
    do {
      _ = try vocabulary.tokenizer()
      return nil
    } catch {
      return error as? IVGError
    }
  }

  /// Checks kind and a part of the message.
  private func expect(_ error: IVGError?, _ kind: IVGError.Kind, _ part: String) {
    #expect(error?.kind == kind)
    #expect(error?.message.contains(part) == true, "\(error?.message ?? "no error")")
  }

  @Test func refusals() {
    expect(failure(TestVocabulary()), .corruptFile, "tokenizer.ggml.model")
    var file = TestVocabulary()
    file.add("tokenizer.ggml.model", string: "t5")
    expect(failure(file), .unsupported, "unigrams")
    expect(failure(TestVocabulary(pre: "kimi-k2", merged: [])), .unsupported, "known: gpt-2")
    expect(failure(TestVocabulary(pre: "gpt-2", merged: ["ab"])), .corruptFile, "merges: entry 0")
    file = TestVocabulary(pre: "gpt-2", merged: [])
    file.add("tokenizer.ggml.eos_token_id", integer: 256)
    expect(failure(file), .corruptFile, "eos_token_id")
    file = TestVocabulary(pre: "gpt-2", merged: [])
    file.add("tokenizer.ggml.add_bos_token", bool: true)
    expect(failure(file), .corruptFile, "bos_token_id")
    file = TestVocabulary()
    file.add("tokenizer.ggml.model", string: "gpt2")
    expect(failure(file), .corruptFile, "tokenizer.ggml.tokens is missing")
    file.add("tokenizer.ggml.tokens", integers: [1, 2])
    expect(failure(file), .corruptFile, "not a string")
  }

  @Test func smallFiles() throws {
    // No types, no bytes to spell with, merges of unknown tokens: legal, if of little use.
    var file = TestVocabulary()
    file.add("tokenizer.ggml.model", string: "gpt2")
    file.add("tokenizer.ggml.tokens", strings: ["a", "b", "", "ab", "ab", "<|endoftext|>"])
    file.add("tokenizer.ggml.merges", strings: ["a c", "a b", "x y", "a b", "\u{20AC} b", "ab ab"])
    file.add("tokenizer.ggml.eos_token_id", integer: UInt32.max)
    let tokenizer = try file.tokenizer()
    #expect(tokenizer.preTokenizerName == "default")
    #expect(try tokenizer.encode("abcab") == [3, 3])
    #expect(!tokenizer.canSpell(99) && tokenizer.canSpell(97))
    #expect(tokenizer.endToken == nil && tokenizer.endTokens.isEmpty)
    #expect(!tokenizer.isReal(2) && tokenizer.isReal(1))
    #expect(!tokenizer.isReal(-1) && !tokenizer.isReal(6) && !tokenizer.isControl(.max))
    #expect(tokenizer.bytes(of: -1).isEmpty && tokenizer.bytes(of: .max).isEmpty)
  }

  @Test func beginAndEndTokens() throws {
    var file = TestVocabulary(
      pre: "llama-bpe", merged: [],
      special: [("<s>", 3), ("<|im_end|>", 3), ("</s>", 1), ("<|eot_id|>", 3), ("[PAD260]", 5)])
    file.add("tokenizer.ggml.bos_token_id", integer: 256)
    file.add("tokenizer.ggml.eos_token_id", integer: 65)
    let tokenizer = try file.tokenizer()
    #expect(tokenizer.addsBeginToken && tokenizer.beginToken == 256 && tokenizer.endToken == 65)
    #expect(tokenizer.endTokens == [65, 257, 259])
    #expect(!tokenizer.isReal(260) && tokenizer.bytes(of: 260).isEmpty)
    let text: [UInt8] = [97]
    let ids = try text.withUnsafeBytes { bytes throws(IVGError) in
      try tokenizer.encode(bytes, parseSpecial: false, addBegin: true)
    }
    #expect(ids == [256, 97])
    file.add("tokenizer.ggml.add_bos_token", bool: false)
    #expect(try !file.tokenizer().addsBeginToken)
  }

  @Test func controlTokensAreNeverMerged() throws {
    var file = TestVocabulary()
    file.add("tokenizer.ggml.model", string: "gpt2")
    file.add("tokenizer.ggml.pre", string: "llama-bpe")
    file.add("tokenizer.ggml.tokens", strings: ["a", "b", "ab"])
    file.add("tokenizer.ggml.token_type", integers: [1, 1, 3])
    file.add("tokenizer.ggml.merges", strings: ["a b"])
    #expect(try file.tokenizer().encode("ab") == [0, 1])
  }

  @Test func ignoredMerges() throws {
    // Without the merge a word that is a token is one only where merges are ignored.
    for (pre, ids) in [("llama-bpe", [256]), ("qwen2", [97, 98])] as [(String, [Int32])] {
      let file = TestVocabulary(pre: pre, merged: [], special: [("ab", 1)])
      #expect(try file.tokenizer().encode("ab") == ids)
    }
    // The file's own word counts more than the custom of the name.
    for (pre, ignored, ids) in [
      ("llama-bpe", false, [97, 98]), ("qwen2", true, [256]), ("gpt-2", true, [256]),
      ("tekken", false, [97, 98]), ("tekken", true, [256]),
    ] as [(String, Bool, [Int32])] {
      var file = TestVocabulary(pre: pre, merged: [], special: [("ab", 1)])
      file.add("tokenizer.ivg.ignore_merges", bool: ignored)
      #expect(try file.tokenizer().encode("ab") == ids, "\(pre) \(ignored)")
    }
  }

  @Test func difference() throws {
    let one = try TestVocabulary(pre: "gpt-2", merged: ["a b"], special: [("<x>", 3)]).tokenizer()
    let same = try TestVocabulary(pre: "qwen2", merged: ["a b"]).tokenizer()
    let other = try TestVocabulary(pre: "gpt-2", merged: ["a c"]).tokenizer()
    let normal = try TestVocabulary(
      pre: "gpt-2", merged: ["a b"], special: [("<x>", 1)]
    ).tokenizer()
    #expect(one.difference(from: one) == nil && one.difference(from: same) == nil)
    #expect(one.difference(from: other)?.contains("256 is \"ab\"") == true)
    #expect(one.difference(from: normal)?.contains("257") == true)
  }

  @Test func nonsenseFilesDoNoHarm() throws {
    var random = TestRandom(seed: 21)
    let letters = ["a", "b", "Ġ", "Ċ", " ", "é", "€", "🦙", "<", "|", "[PAD3]", "\u{0}", ""]
    func text() -> String {
      (0..<Int.random(in: 0...5, using: &random)).map { _ in
        letters.randomElement(using: &random)!
      }.joined()
    }
    for _ in 0..<500 {
      let count = Int.random(in: 1...40, using: &random)
      var file = TestVocabulary()
      file.add("tokenizer.ggml.model", string: "gpt2")
      let rules = ["gpt-2", "smollm", "qwen2", "llama-bpe", "default"]
      file.add("tokenizer.ggml.pre", string: rules.randomElement(using: &random)!)
      file.add("tokenizer.ggml.tokens", strings: (0..<count).map { _ in text() })
      file.add(
        "tokenizer.ggml.token_type",
        integers: (0..<count).map { _ in Int32.random(in: -1...8, using: &random) })
      file.add("tokenizer.ggml.merges", strings: (0..<20).map { _ in "a" + text() + " " + text() })
      let tokenizer = try file.tokenizer()
      for _ in 0..<5 {
        let input = (0..<20).map { _ in text() }.joined() + String(repeating: "ab", count: 40)
        let ids = try tokenizer.encode(input, parseSpecial: true)
        #expect(ids.allSatisfy { $0 >= 0 && $0 < count })
        _ = tokenizer.decode(ids, skipControl: false)
      }
    }
  }

  @Test func longWordsMergeLikeShortOnes() throws {
    // The same word below and above the border between the two ways to merge.
    let merges = ["a a", "aa aa", "a b", "aa b", "aaaa ab", "b a"]
    let tokenizer = try TestVocabulary(pre: "gpt-2", merged: merges).tokenizer()
    var random = TestRandom(seed: 9)
    for _ in 0..<300 {
      let word = (0..<Int.random(in: 40...90, using: &random)).map { _ in
        Int.random(in: 0..<4, using: &random) == 0 ? UInt8(98) : UInt8(97)
      }
      #expect(try tokenizer.encode(word) == Self.naive(word, merges, tokenizer))
    }
  }

  /// Merges by the definition: again and again the leftmost pair of the smallest rank.
  private static func naive(
    _ word: [UInt8], _ merges: [String], _ tokenizer: Tokenizer
  ) -> [Int32] {
    var ids = word.map { Int32($0) }
    func text(_ id: Int32) -> String { String(decoding: tokenizer.bytes(of: id), as: UTF8.self) }
    while true {
      var best: (rank: Int, position: Int)?
      for position in ids.indices.dropLast() {
        let pair = text(ids[position]) + " " + text(ids[position + 1])
        if let rank = merges.firstIndex(of: pair), rank < best?.rank ?? .max {
          best = (rank, position)
        }
      }
      guard let best else { return ids }
      let merged = text(ids[best.position]) + text(ids[best.position + 1])
      ids[best.position] = (256..<Int32(tokenizer.vocabularySize)).first { text($0) == merged }!
      ids.remove(at: best.position + 1)
    }
  }
}
