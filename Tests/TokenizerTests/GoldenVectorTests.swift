import Foundation
import GGUF
import Testing
import Tokenizer

/// Ids that llama.cpp gives, for the vocabularies it tests with and for a real model.
@Suite struct GoldenVectorTests {
  @Test(arguments: ["llama-bpe", "gpt-2", "qwen2", "llama-spm"])
  func vocabulary(_ name: String) throws {
    guard let tokenizer = try TestFiles.goldenVocabulary(name) else { return }
    let isSentencePiece = name == "llama-spm"
    #expect(tokenizer.kindName == (isSentencePiece ? "llama" : "gpt2"))
    #expect(tokenizer.preTokenizerName == (isSentencePiece ? "default" : name))
    let base = "\(TestFiles.shared)/golden/tokenizers/ggml-vocab-\(name).gguf"
    let texts = Self.texts(try TestFiles.read(base + ".inp"))
    let lines = String(decoding: try TestFiles.read(base + ".out"), as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false)
    #expect(texts.count >= 40)
    #expect(lines.count >= texts.count)
    for (text, line) in zip(texts, lines) {
      let expected = line.split(separator: " ").compactMap { Int32($0) }
      let ids = try tokenizer.encode(text)
      #expect(ids == expected, "\(String(decoding: text, as: UTF8.self))")
      #expect(tokenizer.decode(ids, skipControl: false) == text)
    }
  }

  @Test func prompts() throws {
    let path = TestFiles.shared + "/golden/q4_1.json"
    guard TestFiles.exists(path) else { return print("skipped: there is no \(path)") }
    guard let model = TestFiles.smolLM2() else { return }
    let tokenizer = try Tokenizer(file: GGUFFile(path: model))
    let json = try JSONSerialization.jsonObject(with: Data(try TestFiles.read(path)))
    let prompts = Self.prompts(in: json)
    #expect(prompts.count >= 5)
    for (prompt, ids) in prompts {
      #expect(try tokenizer.encode(prompt, parseSpecial: true) == ids)
      #expect(tokenizer.decode(ids, skipControl: false) == Array(prompt.utf8))
    }
  }

  /// Every `prompt` with its `prompt_ids`, wherever they are in `json`.
  private static func prompts(in json: Any) -> [(String, [Int32])] {
    if let list = json as? [Any] { return list.flatMap { prompts(in: $0) } }
    guard let object = json as? [String: Any] else { return [] }
    if let prompt = object["prompt"] as? String, let ids = object["prompt_ids"] as? [Int] {
      return [(prompt, ids.map { Int32($0) })]
    }
    return object.values.flatMap { prompts(in: $0) }
  }

  /// The texts of an `.inp` file.
  private static func texts(_ bytes: [UInt8]) -> [[UInt8]] {
    let separator = Array("\n__ggml_vocab_test__\n".utf8)
    var texts: [[UInt8]] = []
    var start = 0
    var position = 0
    while position + separator.count <= bytes.count {
      if bytes[position..<(position + separator.count)].elementsEqual(separator) {
        texts.append(Array(bytes[start..<position]))
        position += separator.count
        start = position
      } else {
        position += 1
      }
    }
    return texts
  }
}
