import GGUF
import Glibc
import Tensor
import TestSupport
import Testing

@Suite struct WriterTests {
  let temporary = TemporaryFile()

  @Test func roundTrip() throws {
    var writer = GGUFWriter()
    writer.set("general.architecture", .string("llama"))
    writer.set("count", .uint32(7))
    writer.set("i32", .int32(-7))
    writer.set("u64", .uint64(.max))
    writer.set("i64", .int64(.min))
    writer.set("f32", .float32(0.1))
    writer.set("f64", .float64(0.1))
    writer.set("yes", .bool(true))
    writer.set("raw", .string([0xFF, 0x00]))
    writer.set("tokens", .array([Array("a".utf8), [], [0xFF]]))
    writer.set("types", .array([1, -1] as [Int32]))
    writer.set("ids", .array([1, 2, 3] as [UInt32]))
    writer.set("scores", .array([0.5, -1] as [Float]))
    writer.set("count", .uint32(8))
    writer.add("norm", type: .f32, shape: [3], data: [UInt8](1...12))
    let large = [UInt8](repeating: 9, count: 34 * 40_000)
    writer.add("large", type: .q8_0, shape: [32, 40_000]) { (sink) throws(IVGError) in
      for piece in 0..<40 {
        let part = (piece * 34_000)..<((piece + 1) * 34_000)
        let error: IVGError? = large[part].withUnsafeBytes { bytes in
          do throws(IVGError) { try sink(bytes) } catch { return error }
          return nil
        }
        if let error { throw error }
      }
    }
    try writer.write(to: temporary.path)
    #expect(temporary.names() == ["file.gguf"])

    let file = try GGUFFile(path: temporary.path)
    readEverything(file)
    #expect(file.metadata.keys.prefix(3) == ["general.architecture", "count", "i32"])
    let expected = [
      "general.architecture": "\"llama\"", "count": "8", "i32": "-7", "f32": "0.1", "f64": "0.1",
      "u64": "18446744073709551615", "i64": "-9223372036854775808", "yes": "true",
      "raw": #""�\u0000""#, "tokens": #"["a","","�"]"#, "types": "[1,-1]", "ids": "[1,2,3]",
      "scores": "[0.5,-1.0]",
    ]
    for (key, value) in expected {
      #expect(String(decoding: file.metadata.json(key, maxElements: 9), as: UTF8.self) == value)
    }
    #expect(Array(file.data(file.tensors[0])) == [UInt8](1...12))
    #expect(file.data(file.tensors[1]).elementsEqual(large))
    #expect(file.tensors[1].shape == [32, 40_000] && file.fileSize % 32 == 0)
  }

  /// A copy of a file that the `gguf` package wrote is the same file, byte for byte.
  @Test(arguments: ["tiny-llama-q4_0", "tiny-value-lora", "tiny-vocabulary-only", "tiny-qwen2"])
  func copyOfAFile(name: String) throws {
    let source = try GGUFFile(path: Fixtures.path("\(name).gguf"))
    var writer = GGUFWriter()
    writer.set(source.metadata)
    for tensor in source.tensors {
      writer.add(tensor.name, type: tensor.type, shape: tensor.shape, data: source.data(tensor))
    }
    try writer.write(to: temporary.path)
    #expect(contents(temporary.path) == contents(source.path))
  }

  @Test func nestedArraysAndAlignmentAreCopied() throws {
    let sample = try temporary.open(RawGGUF.sample.bytes)
    var writer = GGUFWriter()
    writer.set(sample.metadata)
    writer.set("general.alignment", .uint32(256))
    writer.add("a", type: .f32, shape: [1], data: [1, 2, 3, 4])
    writer.add("b", type: .f32, shape: [1], data: [5, 6, 7, 8])
    try writer.write(to: temporary.path)
    let file = try GGUFFile(path: temporary.path)  // `sample` still maps the old file
    #expect(file.alignment == 256 && file.tensors[1].offset - file.tensors[0].offset == 256)
    #expect(try file.metadata.array("nested")?.count == 2)
    #expect(file.data(file.tensors[1]).elementsEqual([5, 6, 7, 8]))
    #expect(sample.data(sample.tensors[0]).first == 0)
  }

  /// Expects that `write` fails in this way and leaves nothing but what was there.
  private func expectFailure(
    _ kind: IVGError.Kind, _ words: String, path: String? = nil,
    at location: SourceLocation = #_sourceLocation, _ fill: (inout GGUFWriter) -> Void
  ) {
    temporary.fill([1, 2, 3])
    var writer = GGUFWriter()
    fill(&writer)
    do throws(IVGError) {
      try writer.write(to: path ?? temporary.path)
      Issue.record("written", sourceLocation: location)
    } catch {
      #expect(error.kind == kind, sourceLocation: location)
      #expect(error.message.contains(words), "\(error.message)", sourceLocation: location)
    }
    #expect(temporary.names() == ["file.gguf"], sourceLocation: location)
    var status = stat()
    stat(temporary.path, &status)
    #expect(status.st_size == 3, sourceLocation: location)
  }

  @Test func refusals() {
    expectFailure(.invalidArgument, "'x' occurs twice") { writer in
      for _ in 0..<2 { writer.add("x", type: .f32, shape: [1], data: [0, 0, 0, 0]) }
    }
    for shape in [[], [0], [4, -1], [1, 1, 1, 1, 1], [31]] {
      expectFailure(.invalidArgument, "tensor 'x': shape") { writer in
        writer.add("x", type: .q8_0, shape: shape, data: [])
      }
    }
    expectFailure(.invalidArgument, "more than") { writer in
      writer.add("x", type: .f32, shape: [.max, 2], data: [])
    }
    expectFailure(.invalidArgument, "3 of its 4 bytes") { writer in
      writer.add("x", type: .f32, shape: [1], data: [0, 0, 0])
    }
    expectFailure(.invalidArgument, "more than its 4 bytes") { writer in
      writer.add("x", type: .f32, shape: [1], data: [0, 0, 0, 0, 0])
    }
    for alignment in [0, 4, 33, 1 << 21] as [UInt32] {
      expectFailure(.invalidArgument, "general.alignment") { writer in
        writer.set("general.alignment", .uint32(alignment))
      }
    }
    expectFailure(.invalidArgument, "longer than 65535") { writer in
      writer.set(String(repeating: "k", count: 65_536), .bool(true))
    }
  }

  @Test func sourcesThatFail() {
    expectFailure(.cancelled, "enough") { writer in
      writer.add("x", type: .f32, shape: [1]) { (_) throws(IVGError) in
        throw IVGError(.cancelled, "enough")
      }
    }
  }

  @Test func placesThatFail() {
    expectFailure(.notFound, "/no/such", path: "/no/such/folder/x.gguf") { _ in }
    expectFailure(.notFound, "path", path: "") { _ in }
    expectFailure(.io, temporary.folder, path: temporary.folder) { _ in }
  }

  /// The limit on file size stands for a full disk: a write fails in the middle.
  @Test func fullDisk() async {
    await #expect(processExitsWith: .success) {
      let temporary = TemporaryFile()
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 1 << 20, rlim_max: 1 << 20)
      setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
      var writer = GGUFWriter()
      writer.add("x", type: .f32, shape: [1 << 20], data: [UInt8](repeating: 1, count: 4 << 20))
      do throws(IVGError) {
        try writer.write(to: temporary.path)
        exit(1)
      } catch {
        exit(error.kind == .io && temporary.names().isEmpty ? 0 : 2)
      }
    }
  }
}
