// Functions of records as functions of Python: each record arrives as its bytes, in the places that its text tells.
//
// m2t_fast/extension.py is the other side: it packs what the text names, and compares sizes.
#pragma once

#include <pybind11/pybind11.h>

#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/isa.h"
#include "common/record.h"

namespace m2t {

template <typename A>
using Bare = std::remove_cv_t<std::remove_reference_t<A>>;

// What a function's name ends in.
template <typename T>
constexpr const char* kSuffix = "_bfloat16";
template <>
constexpr const char* kSuffix<void> = "";
template <>
constexpr const char* kSuffix<float> = "_float32";
template <>
constexpr const char* kSuffix<double> = "_float64";

// How an argument of type A arrives, and A from it. Numbers arrive as they are.
template <typename A, typename = void>
struct Argument {
    using Given = A;
    static A of(Given given) { return given; }
    static pybind11::tuple described(const char* name) { return pybind11::make_tuple(name, "", 0); }
};

template <>
struct Argument<InstructionSet> {
    using Given = int;
    static InstructionSet of(Given given) { return static_cast<InstructionSet>(given); }
    static pybind11::tuple described(const char* name) { return pybind11::make_tuple(name, "", 0); }
};

// A record, or with several behind one another a vector of them.
template <typename R>
struct Argument<R, std::void_t<decltype(R::fields())>> {
    static_assert(std::is_trivially_copyable_v<R>, "a record is made of bytes");
    using Given = std::string_view;
    static R of(Given given) {
        R record;
        if (given.size() != sizeof(R)) throw std::invalid_argument("a record has another size than its struct");
        std::memcpy(&record, given.data(), sizeof(R));
        return record;
    }
    static pybind11::tuple described(const char* name) { return pybind11::make_tuple(name, R::fields(), sizeof(R)); }
};

template <typename R>
struct Argument<std::vector<R>, std::void_t<decltype(R::fields())>> {
    using Given = std::string_view;
    static std::vector<R> of(Given given) {
        if (given.size() % sizeof(R) != 0) throw std::invalid_argument("records have another size than their struct");
        std::vector<R> records(given.size() / sizeof(R));
        if (!records.empty()) std::memcpy(records.data(), given.data(), given.size());
        return records;
    }
    static pybind11::tuple described(const char* name) { return Argument<R>::described(name); }
};

// A module of Python and what it says of itself: `signatures`, by function the (name, fields, bytes) of its
// parameters, and `records`, the fields of those that are fields of others.
class Bindings {
public:
    explicit Bindings(pybind11::module_& module) : module_(module) {
        for (const char* name : {"signatures", "records"}) {
            if (!pybind11::hasattr(module, name)) module.attr(name) = pybind11::dict();
        }
    }

    // The record R as a field of others.
    template <typename R>
    void record(const char* name) {
        module_.attr("records")[name] = R::fields();
    }

    // NAME_DTYPE of the dtype T, or with void NAME. `names` are those of the function's parameters. It runs without
    // Python's lock; a record that it returns arrives as bytes.
    template <typename T = void, typename Result, typename... A>
    void function(const std::string& name, Result (*function)(A...), std::vector<const char*> names) {
        if (names.size() != sizeof...(A)) throw std::logic_error(name + ": as many names as parameters");
        add(name + kSuffix<T>, function, names, std::index_sequence_for<A...>());
    }

    pybind11::module_& module() { return module_; }

private:
    template <typename Result, typename... A, std::size_t... I>
    void add(const std::string& name, Result (*function)(A...), const std::vector<const char*>& names,
             std::index_sequence<I...>) {
        module_.attr("signatures")[name.c_str()] = pybind11::make_tuple(Argument<Bare<A>>::described(names[I])...);
        module_.def(name.c_str(), [function](typename Argument<Bare<A>>::Given... given) {
            if constexpr (std::is_void_v<Result>) {
                const pybind11::gil_scoped_release unlocked;
                function(Argument<Bare<A>>::of(given)...);
            } else {
                Result result;
                {
                    const pybind11::gil_scoped_release unlocked;
                    result = function(Argument<Bare<A>>::of(given)...);
                }
                if constexpr (std::is_arithmetic_v<Result>) {
                    return result;
                } else {
                    return pybind11::bytes(reinterpret_cast<const char*>(&result), sizeof(result));
                }
            }
        });
    }

    pybind11::module_& module_;
};

}  // namespace m2t
