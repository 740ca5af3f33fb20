import GGUF
import Tensor
import TestSupport
import Testing

/// Good files.
@Suite struct ReadingTests {
  let temporary = TemporaryFile()

  @Test func valuesOfEveryType() throws {
    let file = try temporary.open(RawGGUF.sample.bytes)
    let metadata = file.metadata
    #expect(file.version == 3 && file.alignment == 32 && file.path == temporary.path)
    #expect(file.fileSize == RawGGUF.sample.bytes.count)
    #expect(metadata.keys.count == 18 && metadata.keys.first == "general.architecture")
    #expect(try metadata.string("general.architecture") == "llama")
    let whole = Int.min...Int.max
    for (key, value) in [
      ("u8", 200), ("i8", -5), ("u16", 60_000), ("i16", -30_000), ("u32", 4_000_000_000),
      ("i32", -7), ("i64", Int.min),
    ] {
      #expect(try metadata.int(key, in: whole) == value)
      #expect(try metadata.requiredInt(key, in: value...value) == value)
    }
    #expect(try metadata.float("f32") == Double(0.1 as Float))
    #expect(try metadata.float("f64") == 0.1)
    #expect(try metadata.bool("yes") == true)
    #expect(metadata["absent"] == nil && metadata.type("u16") == .uint16)
    let absent = try metadata.int("absent", in: whole)
    #expect(absent == nil)
  }

  @Test func arrays() throws {
    let metadata = try temporary.open(RawGGUF.sample.bytes).metadata  // outlives its file
    let strings = try #require(try metadata.array("strings"))
    #expect(strings.count == 3 && strings.elementType == .string)
    #expect(strings.string(at: 1)?.count == 0)
    #expect(strings.string(at: 2).map { String(decoding: $0, as: UTF8.self) } == "日本")
    #expect(strings.string(at: 3) == nil && strings.string(at: -1) == nil)
    #expect(strings.int(at: 0) == nil && strings.float(at: 0) == nil)
    let numbers = try #require(try metadata.array("numbers"))
    #expect((-1...4).map { numbers.int(at: $0) } == [nil, 1, -2, 3, -4, nil])
    #expect(numbers.float(at: 0) == nil && numbers.string(at: 0) == nil)
    let floats = try #require(try metadata.array("floats"))
    #expect(floats.float(at: 0) == 1.5 && floats.float(at: 1) == -.infinity)
    let bools = try #require(try metadata.array("bools"))
    #expect(bools.bool(at: 0) == false && bools.bool(at: 1) == true && bools.bool(at: 2) == nil)
    let nested = try #require(try metadata.array("nested"))
    #expect(nested.count == 2 && nested.int(at: 0) == nil && nested.string(at: 0) == nil)
  }

  @Test func tensors() throws {
    let file = try temporary.open(RawGGUF.sample.bytes)
    #expect(file.tensors.map(\.name) == ["norm", "half", "quantised"])
    let tensor = try #require(file.tensor("quantised"))
    #expect(tensor.type == .q8_0 && tensor.shape == [64, 2, 3])
    #expect(tensor.columns == 64 && tensor.rows == 6 && tensor.byteCount == 6 * 2 * 34)
    #expect(tensor.offset + tensor.byteCount == file.fileSize && tensor.offset % 32 == 0)
    #expect(file.data(tensor).first == 64 && file.data(file.tensors[1])[0] == 32)
    #expect(file.tensor("absent") == nil)
  }

  @Test func gettersNameFileKeyValueAndBound() throws {
    let metadata = try temporary.open(RawGGUF.sample.bytes).metadata
    func expect(_ words: String..., from body: () throws(IVGError) -> Void) {
      do throws(IVGError) {
        try body()
        Issue.record("no error")
      } catch {
        #expect(error.kind == .corruptFile)
        for word in [temporary.path] + words { #expect(error.message.contains(word)) }
      }
    }
    expect("'u8'", "200", "1 to 199") { () throws(IVGError) in
      _ = try metadata.int("u8", in: 1...199)
    }
    expect("'u64'", "18446744073709551615") { () throws(IVGError) in
      _ = try metadata.int("u64", in: 0...Int.max)
    }
    expect("'absent'", "missing") { () throws(IVGError) in
      _ = try metadata.requiredInt("absent", in: 0...1)
    }
    expect("'nan'", "finite") { () throws(IVGError) in _ = try metadata.float("nan") }
    expect("'u8'", "an integer", "a float") { () throws(IVGError) in
      _ = try metadata.float("u8")
    }
    expect("'f32'", "an integer") { () throws(IVGError) in _ = try metadata.int("f32", in: 0...1) }
    expect("'u8'", "a bool") { () throws(IVGError) in _ = try metadata.bool("u8") }
    expect("'u8'", "a string") { () throws(IVGError) in _ = try metadata.string("u8") }
    expect("'yes'", "a bool", "an array") { () throws(IVGError) in _ = try metadata.array("yes") }
  }

  @Test func version2AndOtherAlignments() throws {
    var file = RawGGUF(tensors: 1, metadata: 1, version: 2)
    file.key("general.alignment", 4)
    file.number(64 as UInt32)
    file.tensor("x", [2, 2])
    file.data(16, alignment: 64)
    let opened = try temporary.open(file.bytes)
    #expect(opened.version == 2 && opened.alignment == 64)
    #expect(opened.tensors[0].offset % 64 == 0)
  }

  @Test func noTensorsAndNoMetadata() throws {
    let file = try temporary.open(RawGGUF(tensors: 0, metadata: 0).bytes)
    #expect(file.tensors.isEmpty && file.metadata.keys.isEmpty)
  }

  @Test(arguments: [
    "tiny-llama", "tiny-llama-q8_0", "tiny-llama-q4_0", "tiny-llama-untuned", "tiny-qwen2",
    "tiny-other-vocabulary", "tiny-vocabulary-only", "tiny-adapter", "tiny-value-vocabulary",
    "tiny-value-scalar", "tiny-value-lora",
  ])
  func fixtures(name: String) throws {
    let file = try GGUFFile(path: Fixtures.path("\(name).gguf"))
    readEverything(file)
    let architecture = try file.metadata.string("general.architecture")
    #expect(architecture == (name == "tiny-qwen2" ? "qwen2" : "llama"))
    if let tokens = try file.metadata.array("tokenizer.ggml.tokens"),
      let embedding = file.tensor("token_embd.weight")
    {
      #expect(embedding.shape == [64, tokens.count])
    }
  }

  @Test func json() throws {
    var file = RawGGUF.sample
    let place = try #require(file.bytes.firstRange(of: Array("llama".utf8)))
    file.bytes.replaceSubrange(place, with: [0x6C, 0xFF, 0x22, 0x7F, 9])
    let metadata = try temporary.open(file.bytes).metadata
    func json(_ key: String, _ count: Int = 100) -> String {
      String(decoding: metadata.json(key, maxElements: count), as: UTF8.self)
    }
    #expect(json("general.architecture") == #""l�\"\u007f\t""#)
    #expect(json("strings") == #"["a\"b\\\n\u0001","","日本"]"#)
    #expect(json("numbers") == "[1,-2,3,-4]" && json("numbers", 2) == "[1,-2]")
    #expect(json("numbers", 0) == "[]" && json("numbers", -1) == "[]")
    #expect(json("floats") == #"[1.5,"-inf"]"# && json("nan") == #""nan""#)
    #expect(json("bools") == "[false,true]" && json("yes") == "true")
    #expect(json("nested") == "[null,null]" && json("absent") == "null")
    #expect(json("f32") == "0.1" && json("f64") == "0.1")
    #expect(json("u64") == "18446744073709551615" && json("i64") == "-9223372036854775808")
  }
}
