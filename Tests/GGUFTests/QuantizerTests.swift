import GGUF
import Glibc
import Tensor
import TestSupport
import Testing

@Suite struct QuantizerTests {
  let temporary = TemporaryFile()
  let target = TemporaryFile()

  // MARK: Models to quantise

  /// A model of one layer with matrices of these columns, random, and metadata of every kind.
  func writeModel(
    columns: Int = 256, rows: Int = 8, experts: Int = 1, type: TensorType = .f32, layers: Int = 1,
    hasOutput: Bool = true, metadata: [(String, GGUFWriterValue)] = []
  ) throws {
    var numbers = RandomNumbers(seed: 5)
    var writer = GGUFWriter()
    writer.set("general.architecture", .string("llama"))
    writer.set("llama.block_count", .uint32(UInt32(layers)))
    writer.set("llama.attention.head_count", .uint32(8))
    writer.set("llama.attention.head_count_kv", .uint32(2))
    for (key, value) in metadata { writer.set(key, value) }
    func add(_ name: String, _ shape: [Int]) {
      writer.add(
        name, type: type, shape: shape,
        data: encoded(numbers.floats(shape.reduce(1, *), scale: 0.1), as: type))
    }
    add("token_embd.weight", [columns, 4 * rows])
    if hasOutput { add("output.weight", [columns, 4 * rows]) }
    for layer in 0..<layers {
      add("blk.\(layer).attn_norm.weight", [columns])
      for name in [
        "attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_gate", "ffn_gate_inp",
      ] {
        add("blk.\(layer).\(name).weight", [columns, rows])
      }
      add(
        "blk.\(layer).ffn_down.weight", experts == 1 ? [columns, rows] : [columns, rows, experts])
    }
    try writer.write(to: temporary.path)
  }

  func encoded(_ numbers: [Float], as type: TensorType) -> [UInt8] {
    var bytes = [UInt8](
      repeating: 0, count: numbers.count / type.blockElements * type.blockBytes)
    bytes.withUnsafeMutableBytes {
      Kernels.current.quantize(type)(numbers, 1, numbers.count, nil, $0.baseAddress)
    }
    return bytes
  }

  func options(_ type: String) -> QuantizerOptions {
    var options = QuantizerOptions()
    options.type = type
    options.threadCount = 1
    return options
  }

  /// Quantises to the end and opens the result.
  func quantized(_ options: QuantizerOptions, source: String? = nil) throws -> GGUFFile {
    let quantizer = try Quantizer(
      source: source ?? temporary.path, target: target.path, options: options)
    var done = 0
    while let report = try quantizer.next() {
      #expect(report.done >= done && report.done <= report.total)
      done = report.done
    }
    #expect(try quantizer.next() == nil && target.names() == ["file.gguf"])
    let file = try GGUFFile(path: target.path)
    #expect(file.tensors.reduce(0) { $0 + $1.byteCount } == quantizer.sizeOut)
    return file
  }

  func expectFailure(
    _ options: QuantizerOptions, _ kind: IVGError.Kind, _ words: String..., source: String? = nil,
    to path: String? = nil, at location: SourceLocation = #_sourceLocation
  ) {
    do throws(IVGError) {
      let quantizer = try Quantizer(
        source: source ?? temporary.path, target: path ?? target.path, options: options)
      while try quantizer.next() != nil {}
      Issue.record("quantised", sourceLocation: location)
    } catch {
      #expect(error.kind == kind, "\(error.message)", sourceLocation: location)
      for word in words {
        #expect(error.message.contains(word), "\(error.message)", sourceLocation: location)
      }
    }
    #expect(target.names() == [], sourceLocation: location)
  }

  // MARK: Types

  /// What llama.cpp's quantiser gives the matrices of 16 layers, from its own output.
  @Test func mixture() throws {
    try writeModel(layers: 16)
    let file = try quantized(options("Q4_K_M"))
    let more: Set = [0, 1, 4, 7, 10, 13, 14, 15]
    for tensor in file.tensors {
      let layer = tensor.name.hasPrefix("blk.") ? Int(tensor.name.split(separator: ".")[1])! : -1
      let isRaised = tensor.name.contains("attn_v") || tensor.name.contains("ffn_down")
      let expected: TensorType =
        tensor.name.contains("norm") || tensor.name.contains("inp")
        ? .f32
        : tensor.name == "output.weight" || isRaised && more.contains(layer) ? .q6_K : .q4_K
      #expect(tensor.type == expected, "\(tensor.name)")
    }
  }

  @Test(arguments: [
    ("Q4_K_S", 256, TensorType.q4_K), ("Q4_K_S", 288, .q5_0), ("Q5_K_S", 288, .q5_1),
    ("Q6_K", 288, .q8_0), ("Q3_K_S", 288, .q4_0), ("Q2_K", 288, .q4_0), ("Q4_K_S", 40, .f16),
    ("Q8_0", 40, .f16), ("Q4_0", 288, .q4_0), ("F16", 40, .f16), ("BF16", 40, .bf16),
    ("q4_k_s", 256, .q4_K),
  ])
  func fallback(type: String, columns: Int, expected: TensorType) throws {
    try writeModel(columns: columns, layers: 2)
    let file = try quantized(options(type))
    #expect(file.tensor("blk.1.ffn_up.weight")?.type == expected)
    #expect(file.tensor("blk.1.attn_norm.weight")?.type == .f32)
    #expect(file.tensor("blk.1.ffn_gate_inp.weight")?.type == .f32)
  }

  @Test func tiedAndNamedTypes() throws {
    try writeModel(hasOutput: false)
    #expect(try quantized(options("Q4_0")).tensor("token_embd.weight")?.type == .q6_K)
    var named = options("Q4_0")
    named.outputType = "q8_0"
    #expect(try quantized(named).tensor("token_embd.weight")?.type == .q8_0)
    named.embeddingType = "F16"
    #expect(try quantized(named).tensor("token_embd.weight")?.type == .f16)
    named = options("Q4_K_M")
    named.isPure = true
    for tensor in try quantized(named).tensors where tensor.rows > 1 && !tensor.name.contains("inp")
    {
      #expect(tensor.type == .q4_K)
    }
  }

  // MARK: What is written

  /// Every stored type can be read, to every type, and what is decoded is near; a type that is there is copied.
  @Test(arguments: TensorType.allCases, ["F32", "Q8_0", "Q4_1", "Q5_K_S"])
  func everySource(from: TensorType, type: String) throws {
    try writeModel(columns: 512, type: from)
    var named = options(type)
    named.isPure = true
    let source = try GGUFFile(path: temporary.path)
    let file = try quantized(named)
    for (old, new) in zip(source.tensors, file.tensors) {
      #expect(old.name == new.name && old.shape == new.shape)
      if old.type == new.type {
        #expect(source.data(old).elementsEqual(file.data(new)))
        continue
      }
      let a = decoded(source, old)
      let b = decoded(file, new)
      let difference = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      let size = a.reduce(0) { $0 + $1 * $1 }
      #expect((difference / size).squareRoot() < 0.1, "\(old.name) \(old.type) \(new.type)")
    }
  }

  func decoded(_ file: GGUFFile, _ tensor: GGUFTensor) -> [Float] {
    var numbers = [Float](repeating: 0, count: tensor.columns * tensor.rows)
    Kernels.current.dequantize(tensor.type)(
      file.data(tensor).baseAddress, numbers.count, &numbers)
    return numbers
  }

  @Test func metadataAndAlignment() throws {
    let values: [(String, GGUFWriterValue)] = [
      ("general.file_type", .uint64(1)), ("general.alignment", .uint32(64)), ("a", .int32(-7)),
      ("raw", .string([0xFF, 0])), ("tokens", .array([Array("a".utf8), [], [0xFF]])),
      ("scores", .array([0.5, -1] as [Float])), ("f64", .float64(0.1)), ("no", .bool(false)),
    ]
    try writeModel(metadata: values)
    let source = try GGUFFile(path: temporary.path)
    let file = try quantized(options("Q5_K_M"))
    #expect(file.metadata.keys == source.metadata.keys + ["general.quantization_version"])
    for key in source.metadata.keys where key != "general.file_type" {
      #expect(file.metadata.type(key) == source.metadata.type(key))
      #expect(
        file.metadata.json(key, maxElements: 9) == source.metadata.json(key, maxElements: 9))
    }
    #expect(file.metadata.type("general.file_type") == .uint32)
    #expect(try file.metadata.int("general.file_type", in: 0...99) == 17)
    #expect(try file.metadata.int("general.quantization_version", in: 0...99) == 2)
    #expect(file.alignment == 64 && file.tensors.allSatisfy { $0.offset % 64 == 0 })
  }

  /// Rows that are parts of a chunk, several chunks long, and experts: always what one call would make of all.
  @Test(arguments: [(512, 300, 1), (70_144, 3, 1), (256, 130, 3)], [1, 3])
  func division(size: (Int, Int, Int), threads: Int) throws {
    let (columns, rows, experts) = size
    try writeModel(columns: columns, rows: rows, experts: experts)
    let source = try GGUFFile(path: temporary.path)
    var chosen = options("Q4_K_S")
    chosen.threadCount = threads
    chosen.isPure = true
    let file = try quantized(chosen)
    for name in ["blk.0.ffn_down.weight", "token_embd.weight"] {
      let tensor = try #require(source.tensor(name))
      let whole = encoded(decoded(source, tensor), as: .q4_K)
      #expect(file.data(try #require(file.tensor(name))).elementsEqual(whole))
    }
  }

  // MARK: Importance weights

  func writeImportance(
    _ name: String, sums: [Float], counts: [Float], columns: Int, kind: String = "imatrix"
  ) throws -> String {
    var writer = GGUFWriter()
    writer.set("general.type", .string(kind))
    writer.add(
      name + ".in_sum2", type: .f32, shape: [columns, sums.count / columns],
      data: encoded(sums, as: .f32))
    writer.add(
      name + ".counts", type: .f32, shape: [1, counts.count], data: encoded(counts, as: .f32))
    let path = temporary.folder + "/importance.gguf"
    try writer.write(to: path)
    return path
  }

  /// Each expert's columns count by its own weights, in both formats: what comes out is what the kernel makes
  /// of those rows with those weights.
  @Test(arguments: [false, true]) func importance(isOld: Bool) throws {
    let name = "blk.0.ffn_down.weight"
    try writeModel(experts: 2)
    var numbers = RandomNumbers(seed: 9)
    let sums = numbers.floats(512).map { $0 * $0 + 0.01 }
    var chosen = options("Q4_K_S")
    chosen.isPure = true
    if isOld {
      var bytes: [UInt8] = []
      func add(_ value: UInt32) { withUnsafeBytes(of: value.littleEndian) { bytes += $0 } }
      add(1)
      add(UInt32(name.utf8.count))
      bytes += Array(name.utf8)
      add(3)
      add(512)
      for sum in sums { add(sum.bitPattern) }
      chosen.importancePath = temporary.folder + "/importance"
      let descriptor = open(chosen.importancePath!, O_WRONLY | O_CREAT, 0o600)
      #expect(write(descriptor, bytes, bytes.count) == bytes.count)
      close(descriptor)
    } else {
      chosen.importancePath = try writeImportance(name, sums: sums, counts: [3, 7], columns: 256)
    }
    let source = try GGUFFile(path: temporary.path)
    let file = try quantized(chosen)
    let rows = decoded(source, try #require(source.tensor(name)))
    let stored = Array(file.data(try #require(file.tensor(name))))
    for expert in 0..<2 {
      let part = Array(sums[expert * 256..<(expert + 1) * 256])
      let mean = part.reduce(0) { $0 + Double($1) } / 256
      let weights = part.map { Float(Double($0) / mean) }
      var bytes = [UInt8](repeating: 0, count: 8 * 144)
      bytes.withUnsafeMutableBytes {
        Kernels.current.quantize(.q4_K)(
          Array(rows[expert * 2048..<(expert + 1) * 2048]), 8, 256, weights, $0.baseAddress)
      }
      #expect(Array(stored[expert * 8 * 144..<(expert + 1) * 8 * 144]) == bytes)
      #expect(bytes != encoded(Array(rows[expert * 2048..<(expert + 1) * 2048]), as: .q4_K))
    }
  }

  @Test func importanceThatDoesNotFit() throws {
    try writeModel()
    let name = "blk.0.ffn_up.weight"
    var chosen = options("Q4_0")
    func expect(_ kind: IVGError.Kind, _ word: String, _ path: String) {
      chosen.importancePath = path
      expectFailure(chosen, kind, word)
    }
    let ones = [Float](repeating: 1, count: 256)
    expect(.mismatch, "[256, 1]", try writeImportance(name, sums: ones, counts: [1], columns: 128))
    expect(
      .mismatch, "none of", try writeImportance("other", sums: ones, counts: [1], columns: 256))
    expect(
      .corruptFile, ".counts", try writeImportance(name, sums: ones, counts: [1, 2], columns: 256))
    expect(
      .mismatch, "'model'",
      try writeImportance(name, sums: ones, counts: [1], columns: 256, kind: "model"))
    for bad in [Float.nan, .infinity, -1] {
      expect(
        .corruptFile, "weight 7",
        try writeImportance(
          name, sums: ones.enumerated().map { $0.offset == 7 ? bad : $0.element }, counts: [1],
          columns: 256))
    }
    expect(.notFound, "nowhere", "/nowhere")
    let garbage = TemporaryFile()
    for bytes in [
      [UInt8](repeating: 0xFF, count: 9), [1, 0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0], [7],
    ] {
      garbage.fill(bytes)
      expect(.corruptFile, garbage.path, garbage.path)
    }
  }

  // MARK: What is refused

  @Test func refusedRequests() throws {
    try writeModel()
    expectFailure(options("Q9_X"), .invalidArgument, "'Q9_X'", "Q4_K_M")
    expectFailure(options(""), .invalidArgument, "type ''")
    var chosen = options("Q4_0")
    chosen.outputType = "Q4_K_M"
    expectFailure(chosen, .invalidArgument, "output_type 'Q4_K_M'")
    chosen = options("Q4_0")
    chosen.memoryBudget = 1000
    expectFailure(chosen, .outOfMemory, "the budget is 1000")
    chosen = options("Q4_0")
    chosen.threadCount = 5000
    expectFailure(chosen, .invalidArgument, "5000 threads")
    expectFailure(options("Q4_0"), .notFound, "/nowhere/x", to: "/nowhere/x")
    expectFailure(options("Q4_0"), .notFound, "/nowhere", source: "/nowhere")
    expectFailure(options("Q4_0"), .io, "folder", to: target.folder)
    let link = temporary.folder + "/link"
    for path in [temporary.path, link] {
      if path == link { symlink(temporary.path, link) }
      expectFailure(options("Q4_0"), .invalidArgument, "is read", to: path)
    }
    for name in ["tiny-adapter", "tiny-value-lora", "tiny-value-scalar"] {
      expectFailure(
        options("Q4_0"), .mismatch, "general.type", source: Fixtures.path("\(name).gguf"))
    }
    try writeModel(metadata: [("split.count", .uint32(2))])
    expectFailure(options("Q4_0"), .mismatch, "one of 2 parts")
  }

  @Test(arguments: [
    (Float.nan, "F16"), (.infinity, "Q4_K_M"), (-.infinity, "F32"), (1e6, "F16"), (-70_000, "Q4_0"),
    (3.4e38, "BF16"), (1e30, "Q6_K"),
  ])
  func refusedWeights(value: Float, type: String) throws {
    var numbers = [Float](repeating: 0.5, count: 256 * 300)
    numbers[256 * 299 + 17] = value
    var writer = GGUFWriter()
    writer.set("general.architecture", .string("llama"))
    writer.add("x.weight", type: .f32, shape: [256, 300], data: encoded(numbers, as: .f32))
    try writer.write(to: temporary.path)
    expectFailure(options(type), .invalidArgument, "'x.weight'", "weight 17 of row 299")
  }

  // MARK: Stopping

  @Test func cancelledAndAbandoned() throws {
    try writeModel(columns: 512, rows: 600)
    var chosen = options("Q4_K_M")
    let whole = contents((try quantized(chosen)).path)
    unlink(target.path)
    chosen.threadCount = 2
    var quantizer: Quantizer? = try Quantizer(
      source: temporary.path, target: target.path, options: chosen)
    var cancels = 0
    repeat {
      quantizer?.cancelFlag.raise()
      do throws(IVGError) { _ = try quantizer?.next() } catch {
        #expect(error.kind == .cancelled)
        cancels += 1
      }
      #expect(!target.names().contains("file.gguf"))
    } while try quantizer?.next() != nil
    #expect(cancels > 3 && contents(target.path) == whole)
    unlink(target.path)
    quantizer = try Quantizer(source: temporary.path, target: target.path, options: chosen)
    _ = try quantizer?.next()
    #expect(!target.names().contains("file.gguf"))
    quantizer = nil
    #expect(target.names() == [])
  }
}
