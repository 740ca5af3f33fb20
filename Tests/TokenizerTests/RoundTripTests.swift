import GGUF
import TestSupport
import Testing
import Tokenizer

/// Any bytes come back exactly, and no input takes long.
@Suite struct RoundTripTests {
  @Test(arguments: ["gpt-2", "qwen2", "llama-bpe", "smollm", "default"])
  func randomBytes(_ pre: String) throws {
    let tokenizer = try TestVocabulary(
      pre: pre, merged: ["a b", "Ġ a", "Ã ©", "Ð °", "Ċ Ċ", "ab ab"]
    ).tokenizer()
    var random = TestRandom(seed: 1)
    let common: [UInt8] = Array(" ab\n\r'19sS.é а🦙".utf8) + [0x80, 0xC0, 0xED, 0xA0, 0xF4, 0xFF]
    for round in 0..<2000 {
      let text = (0..<Int.random(in: 0...100, using: &random)).map { _ in
        round % 2 == 0
          ? UInt8.random(in: 0...255, using: &random) : common.randomElement(using: &random)!
      }
      let ids = try tokenizer.encode(text, parseSpecial: true)
      #expect(tokenizer.decode(ids, skipControl: false) == text)
    }
  }

  @Test func bytesThatAVocabularyLacks() throws {
    guard let path = TestFiles.smolLM2() else { return }
    let tokenizer = try Tokenizer(file: GGUFFile(path: path))
    let spelled = (0...255).map { UInt8($0) }.filter { tokenizer.canSpell($0) }
    #expect(spelled.count >= 128)
    var random = TestRandom(seed: 2)
    for _ in 0..<1000 {
      let text = (0..<100).map { _ in UInt8.random(in: 0...255, using: &random) }
      let ids = try tokenizer.encode(text)
      #expect(tokenizer.decode(ids, skipControl: false) == text.filter { spelled.contains($0) })
    }
  }

  @Test func hostileTextsAreFast() throws {
    let model = TestFiles.smolLM2()
    let tokenizer =
      try model.map { try Tokenizer(file: GGUFFile(path: $0)) }
      ?? TestVocabulary(pre: "gpt-2", merged: ["a a", "aa aa"], special: [("<|x|>", 3)]).tokenizer()
    let size = 1 << 20
    var texts: [[UInt8]] = [" ", "a", "<", "\n", "'", "1"].map {
      [UInt8](repeating: $0.utf8.first!, count: size)
    }
    texts.append(Array(String(repeating: "\u{301}", count: size / 2).utf8))
    texts.append(Array(String(repeating: "<|im_end|", count: size / 9).utf8))
    for text in texts {
      var ids: [Int32] = []
      let time = try processorTime {
        ids = try tokenizer.encode(text, parseSpecial: true)
      }
      #expect(tokenizer.decode(ids, skipControl: false) == text)
      // The bound is for optimised builds.
      #if !DEBUG
        #expect(time < 2)
      #else
        _ = time
      #endif
    }
  }
}
