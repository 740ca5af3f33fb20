import GGUF
import Glibc
import Tensor
import TestSupport
import Testing

/// Files that are wrong in one way each. The error says which way; nothing crashes, hangs or takes
/// memory that the file does not have.
@Suite struct AttackTests {
  let temporary = TemporaryFile()

  @Test func noSuchFile() {
    for path in [temporary.path, "/no/such/folder/x.gguf", "", "a\0b"] {
      do throws(IVGError) {
        _ = try GGUFFile(path: path)
        Issue.record("opened")
      } catch { #expect(error.kind == .notFound) }
    }
  }

  @Test func folderPipeAndDevice() {
    let pipe = temporary.path
    mkfifo(pipe, 0o600)
    for path in [temporary.folder, pipe, "/dev/null", "/dev/zero"] {
      do throws(IVGError) {
        _ = try GGUFFile(path: path)
        Issue.record("opened \(path)")
      } catch {
        #expect(error.kind == .io && error.message.contains("not a regular file"))
      }
    }
  }

  @Test func emptyFile() { temporary.expectFailure([], .corruptFile, "empty") }

  @Test func otherFormats() {
    temporary.expectFailure(Array("PK\u{3}\u{4} a zip".utf8), .corruptFile, "50 4b 03 04")
    temporary.expectFailure(
      RawGGUF(tensors: 0, metadata: 0, magic: "GGML").bytes, .corruptFile, "not a GGUF file")
  }

  @Test func bigEndian() {
    temporary.expectFailure(
      RawGGUF(tensors: 0, metadata: 0, version: (3 as UInt32).byteSwapped).bytes, .unsupported,
      "big-endian")
    temporary.expectFailure(
      RawGGUF(tensors: 0, metadata: 0, magic: "FUGG").bytes, .unsupported, "big-endian")
  }

  @Test(arguments: [0, 1, 4, 70_000] as [UInt32])
  func otherVersions(version: UInt32) {
    temporary.expectFailure(
      RawGGUF(tensors: 0, metadata: 0, version: version).bytes, .unsupported, "version \(version)")
  }

  @Test(arguments: [1, 1 << 20, 1 << 40, UInt64.max] as [UInt64])
  func hugeCounts(count: UInt64) {
    temporary.expectFailure(
      RawGGUF(tensors: count, metadata: 0).bytes, .corruptFile, "tensor count", "\(count)")
    temporary.expectFailure(
      RawGGUF(tensors: 0, metadata: count).bytes, .corruptFile, "metadata count", "\(count)")
  }

  @Test(arguments: [100, 1 << 31, 1 << 63, UInt64.max] as [UInt64])
  func stringLongerThanTheFile(length: UInt64) {
    var key = RawGGUF(tensors: 0, metadata: 1)
    key.string("name", length: length)
    key.number(0 as UInt64)
    temporary.expectFailure(key.bytes, .corruptFile, "metadata key 0", "\(length)")
    var value = RawGGUF(tensors: 0, metadata: 1)
    value.key("k", 8)
    value.string("text", length: length)
    temporary.expectFailure(value.bytes, .corruptFile, "metadata 'k'", "\(length)")
    var element = RawGGUF(tensors: 0, metadata: 1)
    element.key("k", 9)
    element.number(8 as UInt32)
    element.number(2 as UInt64)
    element.string("fine")
    element.string("text", length: length)
    temporary.expectFailure(element.bytes, .corruptFile, "metadata 'k'[1]", "\(length)")
  }

  @Test(arguments: [13, 255, UInt32.max] as [UInt32])
  func unknownValueTypes(type: UInt32) {
    var file = RawGGUF(tensors: 0, metadata: 1)
    file.key("k", type)
    file.number(0 as UInt64)
    temporary.expectFailure(file.bytes, .corruptFile, "'k'", "type is \(type)")
    var array = RawGGUF(tensors: 0, metadata: 1)
    array.key("k", 9)
    array.number(type)
    array.number(0 as UInt64)
    temporary.expectFailure(array.bytes, .corruptFile, "'k'", "element type is \(type)")
  }

  @Test(arguments: 0...12 as ClosedRange<UInt32>)
  func arrayLongerThanTheFile(type: UInt32) {
    for count in [100, 1 << 32, 1 << 61, 1 << 63, UInt64.max] as [UInt64] {
      var file = RawGGUF(tensors: 0, metadata: 1)
      file.key("k", 9)
      file.number(type)
      file.number(count)
      file.bytes += [UInt8](repeating: 0, count: 50)
      temporary.expectFailure(file.bytes, .corruptFile, "'k': element count is \(count)")
    }
  }

  @Test func nestedArrays() throws {
    func nested(_ depth: Int) -> [UInt8] {
      var file = RawGGUF(tensors: 0, metadata: 1)
      file.key("k", 9)
      for level in 1...depth {
        file.number(level == depth ? 0 : 9 as UInt32)
        file.number(1 as UInt64)
      }
      file.bytes.append(7)
      return file.bytes
    }
    readEverything(try temporary.open(nested(4)))
    for depth in [5, 1000, 50_000] {
      temporary.expectFailure(nested(depth), .corruptFile, "'k'", "nested deeper than 4")
    }
  }

  @Test func boolThatIsNeither() {
    var file = RawGGUF(tensors: 0, metadata: 1)
    file.key("k", 7)
    file.number(2 as UInt8)
    temporary.expectFailure(file.bytes, .corruptFile, "'k'", "2")
  }

  @Test func duplicateKey() {
    var file = RawGGUF(tensors: 0, metadata: 2)
    for _ in 0..<2 {
      file.key("k", 0)
      file.number(1 as UInt8)
    }
    temporary.expectFailure(file.bytes, .corruptFile, "'k' occurs twice")
  }

  @Test(arguments: [0, 1, 4, 24, 48, 1 << 21, 0xFFFF_FFFF] as [UInt32])
  func alignments(alignment: UInt32) {
    var file = RawGGUF(tensors: 0, metadata: 1)
    file.key("general.alignment", 4)
    file.number(alignment)
    temporary.expectFailure(file.bytes, .corruptFile, "'general.alignment'", "\(alignment)")
  }

  @Test func alignmentOfAnotherKind() {
    var file = RawGGUF(tensors: 0, metadata: 1)
    file.key("general.alignment", 8)
    file.string("32")
    temporary.expectFailure(file.bytes, .corruptFile, "'general.alignment'", "a string")
  }

  /// A file with one tensor of these properties and `data` bytes of tensor data.
  private func tensor(
    _ dimensions: [UInt64], type: UInt32 = 0, offset: UInt64 = 0, data: Int = 64
  ) -> [UInt8] {
    var file = RawGGUF(tensors: 1, metadata: 0)
    file.tensor("x", dimensions, type: type, offset: offset)
    file.data(data)
    return file.bytes
  }

  @Test func dimensions() {
    temporary.expectFailure(tensor([]), .corruptFile, "'x' has 0 dimensions")
    temporary.expectFailure(tensor([1, 1, 1, 1, 1]), .corruptFile, "'x' has 5 dimensions")
    temporary.expectFailure(tensor([4, 0]), .corruptFile, "'x': dimension 1 is 0")
    temporary.expectFailure(tensor([1 << 63]), .corruptFile, "dimension 0", "\(1 << 63 as UInt64)")
    temporary.expectFailure(tensor([.max, .max]), .corruptFile, "dimension 0")
    temporary.expectFailure(tensor([1 << 32, 1 << 31]), .corruptFile, "multiply to more than")
    temporary.expectFailure(tensor([1 << 31, 1 << 31]), .corruptFile, "take more than")
    temporary.expectFailure(tensor([1 << 62], type: 1), .corruptFile, "take more than")
    temporary.expectFailure(tensor([256, 1 << 54], type: 14), .corruptFile, "'x'", "end behind")
    temporary.expectFailure(tensor([33], type: 2), .corruptFile, "33", "32", "Q4_0")
    temporary.expectFailure(tensor([128], type: 12), .corruptFile, "128", "256", "Q4_K")
  }

  @Test(arguments: [4, 5, 9, 23, 31, 39, 1000, .max] as [UInt32])
  func unknownTensorTypes(type: UInt32) {
    temporary.expectFailure(tensor([32], type: type), .unsupported, "tensor 'x'", "\(type)")
  }

  @Test func offsets() throws {
    readEverything(try temporary.open(tensor([8], offset: 32)))
    temporary.expectFailure(tensor([8], offset: 4), .corruptFile, "'x'", "offset 4", "32")
    temporary.expectFailure(tensor([9], offset: 32), .corruptFile, "'x'", "36 bytes", "64")
    temporary.expectFailure(tensor([8], offset: 64), .corruptFile, "'x'", "offset 64")
    temporary.expectFailure(tensor([17]), .corruptFile, "'x'", "68 bytes")
    temporary.expectFailure(tensor([1], offset: 1 << 63), .corruptFile, "'x'")
    temporary.expectFailure(tensor([1], offset: .max - 31), .corruptFile, "'x'")
  }

  @Test func dataThatIsNotThere() {
    var file = RawGGUF(tensors: 1, metadata: 0)
    file.tensor("x", [1])
    temporary.expectFailure(file.bytes, .corruptFile, "'x'", "4 bytes", "0 bytes")
  }

  @Test func duplicateTensor() {
    var file = RawGGUF(tensors: 2, metadata: 0)
    for _ in 0..<2 { file.tensor("x", [8]) }
    file.data(32)
    temporary.expectFailure(file.bytes, .corruptFile, "tensor 'x' occurs twice")
  }

  /// A terabyte of zeros, of which the disk holds nothing: 2³⁶ empty strings.
  @Test func sparseFile() {
    for type in [8, 9] as [UInt32] {
      var file = RawGGUF(tensors: 0, metadata: 1)
      file.key("k", 9)
      file.number(type)
      file.number(1 << 36 as UInt64)
      temporary.fill(file.bytes)
      guard truncate(temporary.path, 1 << 40) == 0 else { continue }  // a file system without holes
      do throws(IVGError) {
        _ = try GGUFFile(path: temporary.path)
        Issue.record("opened")
      } catch {
        #expect(error.kind == .corruptFile && error.message.contains("the limit is 67108864"))
      }
    }
  }

  /// A name in a message cannot bring control characters or a megabyte into a log.
  @Test func namesInMessages() {
    var file = RawGGUF(tensors: 0, metadata: 1)
    file.key("\u{1B}[31m\n" + String(repeating: "x", count: 10_000), 99)
    do throws(IVGError) {
      _ = try temporary.open(file.bytes)
    } catch {
      #expect(error.message.utf8.count < 400 && error.message.contains(#"\u{1b}[31m\u{a}x"#))
      #expect(!error.message.utf8.contains(0x1B))
    }
  }
}
