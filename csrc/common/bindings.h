// A Python module of the functions of common/functions.h.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <string>
#include <variant>

#include "common/functions.h"

namespace m2t {

// More parameters than any function has.
constexpr std::size_t kMostParameters = 16;

inline Given given(pybind11::handle value) {
    PyObject* const object = value.ptr();
    if (PyBytes_Check(object)) {
        return std::string_view(PyBytes_AS_STRING(object), static_cast<std::size_t>(PyBytes_GET_SIZE(object)));
    }
    if (PyUnicode_Check(object)) {
        Py_ssize_t size = 0;
        const char* const text = PyUnicode_AsUTF8AndSize(object, &size);
        if (text == nullptr) throw pybind11::error_already_set();
        return std::string_view(text, static_cast<std::size_t>(size));
    }
    if (PyLong_Check(object)) {  // a bool is one
        const long long number = PyLong_AsLongLong(object);
        if (number == -1 && PyErr_Occurred() != nullptr) throw pybind11::error_already_set();
        return std::int64_t{number};
    }
    if (PyFloat_Check(object)) return PyFloat_AS_DOUBLE(object);
    throw pybind11::type_error("expected bytes, a text or a number");
}

inline pybind11::object returned(const Returned& result) {
    if (const auto* yes = std::get_if<bool>(&result)) return pybind11::bool_(*yes);
    if (const auto* number = std::get_if<std::int64_t>(&result)) return pybind11::int_(*number);
    if (const auto* number = std::get_if<double>(&result)) return pybind11::float_(*number);
    if (const auto* bytes = std::get_if<std::string>(&result)) return pybind11::bytes(*bytes);
    return pybind11::none();
}

inline pybind11::object called(const Function& function, const pybind11::args& arguments) {
    if (arguments.size() != function.parameters.size()) {
        throw pybind11::type_error(function.name + ": got " + std::to_string(arguments.size()) +
                                   " arguments, expected " + std::to_string(function.parameters.size()));
    }
    std::array<Given, kMostParameters> values;
    for (std::size_t i = 0; i < arguments.size(); ++i) values[i] = given(arguments[i]);
    Returned result;
    {
        const pybind11::gil_scoped_release unlocked;
        result = function.call(values.data());
    }
    return returned(result);
}

// Adds the functions to a module and what it says of them: `signatures`, by function the (name, fields, bytes) of its
// parameters, and `records`, the fields of those that are fields of others. They run without Python's lock.
inline void add_functions(pybind11::module_& module, const Functions& all) {
    pybind11::dict signatures, records;
    for (const Function& function : all.functions()) {
        if (function.parameters.size() > kMostParameters) throw std::logic_error(function.name + ": kMostParameters");
        pybind11::list parameters;
        for (const Parameter& p : function.parameters) {
            parameters.append(pybind11::make_tuple(p.name, p.fields, p.bytes));
        }
        signatures[function.name.c_str()] = pybind11::tuple(parameters);
        module.def(function.name.c_str(),
                   [&function](const pybind11::args& arguments) { return called(function, arguments); });
    }
    for (const auto& [name, fields] : all.records()) records[name] = fields;
    module.attr("signatures") = signatures;
    module.attr("records") = records;
}

}  // namespace m2t
