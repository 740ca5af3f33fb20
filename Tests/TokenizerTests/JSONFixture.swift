import Foundation
import Testing

/// Fixtures in JSON.
enum JSONFixture {
  /// The value in the file called `name` among the fixtures.
  static func read<Value: Decodable>(_ name: String, as type: Value.Type) throws -> Value {
    let bytes = try TestFiles.read("\(TestFiles.root)/Tests/Fixtures/\(name)")
    return try JSONDecoder().decode(type, from: Data(bytes))
  }
}
